"""`smart-meter events add` and `send-waiting`, with and without a service."""

import fcntl
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smart_meter.cli.commands import events_add
from smart_meter.cli.commands.events_add import MAX_WAITING
from smart_meter.cli.main import main
from smart_meter.runtime import event_socket
from smart_meter.runtime.event_socket import BUSY, NAME, OK, RootEvent, parse

Run = Callable[..., tuple[str, str]]


class FakeService:
    """Gives each event the next of its replies, and the last one from then on; "" closes the connection."""

    def __init__(self, runtime: Path, *replies: str) -> None:
        self.received: list[RootEvent] = []
        self._replies = list(replies)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(runtime / NAME))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            # It is shut down at the end.
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
                event = parse(connection.recv(10_000))
                if reply == OK:
                    self.received.append(event)
                if reply:
                    connection.send(reply.encode())

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., FakeService]]:
    made: list[FakeService] = []

    def start(*replies: str) -> FakeService:
        made.append(FakeService(tmp_path, *(replies or [OK])))
        return made[-1]

    yield start
    for service in made:
        service.end()


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    return tmp_path / "guard/events"


@pytest.fixture
def run(tmp_path: Path, waiting: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main(["events", *arguments, "--runtime", str(tmp_path), "--waiting", str(waiting)]) == code
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run_command


def lines(waiting: Path) -> list[str]:
    return waiting.read_text().splitlines()


def test_an_event_is_sent_to_the_service(run: Run, serve: Callable[..., FakeService], waiting: Path) -> None:
    service = serve()

    assert run("add", "network", "the switch was replaced") == ("", "")

    [event] = service.received
    assert (event.kind.value, event.text) == ("network", "the switch was replaced")
    assert event.at is not None
    assert abs(event.at - time.time()) < 20
    assert not waiting.exists()


def test_without_a_service_an_event_waits_in_a_file_only_for_root(run: Run, waiting: Path) -> None:
    out, err = run("add", "network", "the switch\nwas \x1b[1mreplaced\udcff")

    assert out == f"the service is not running; the event waits in {waiting} until the service starts\n"
    assert err == ""
    [line] = lines(waiting)
    seconds, rest = line.split(" ", 1)
    assert abs(int(seconds) - time.time()) < 20
    assert rest == "network the switch?was ?[1mreplaced?"
    assert stat.S_IMODE(waiting.stat().st_mode) == 0o600
    assert stat.S_IMODE(waiting.parent.stat().st_mode) == 0o700


def test_what_waits_is_sent_in_order_and_removed(
    run: Run, serve: Callable[..., FakeService], waiting: Path
) -> None:
    run("add", "network", "first")
    run("add", "firewall", "second")
    service = serve()

    assert run("send-waiting") == ("", "")

    assert [(event.kind.value, event.text) for event in service.received] == [
        ("network", "first"),
        ("firewall", "second"),
    ]
    assert all(event.at is not None for event in service.received)
    assert lines(waiting) == []
    assert run("send-waiting") == ("", "")
    assert len(service.received) == 2


def test_nothing_that_waits_is_no_error(run: Run, serve: Callable[..., FakeService]) -> None:
    serve()
    assert run("send-waiting") == ("", "")


def test_without_a_service_what_waits_stays(run: Run, waiting: Path) -> None:
    run("add", "network", "first")
    before = lines(waiting)

    out, err = run("send-waiting", code=1)

    assert (out, err) == ("", "smart-meter: the service is not running\n")
    assert lines(waiting) == before


def test_a_damaged_line_is_removed_and_the_others_are_sent(
    run: Run, serve: Callable[..., FakeService], waiting: Path
) -> None:
    waiting.parent.mkdir()
    damaged = [b"", b"\0\0\0", b"\xff\xfe", b"1 start forged", b"x network a", b"1 network ", b"1" * 5000]
    waiting.write_bytes(b"\n".join([b"1700000000 network first", *damaged, b"1700000001 firewall last"]))
    service = serve()

    _, err = run("send-waiting")

    assert [event.text for event in service.received] == ["first", "last"]
    assert len(err.splitlines()) == len(damaged)
    assert all(line.startswith(f"smart-meter: {waiting}: removed '") for line in err.splitlines())
    assert err.isascii()
    assert lines(waiting) == []


def test_a_busy_service_is_asked_again(run: Run, serve: Callable[..., FakeService]) -> None:
    service = serve(BUSY, BUSY, OK)

    assert run("add", "release", "from 1 to 2") == ("", "")

    assert [event.text for event in service.received] == ["from 1 to 2"]


def test_a_service_that_stays_busy_gets_the_event_later(
    run: Run, serve: Callable[..., FakeService], waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_add, "PATIENCE", 0.1)
    serve(BUSY)

    out, _ = run("add", "release", "from 1 to 2")

    assert out.startswith("the service is busy with other events; the event waits in ")
    assert len(lines(waiting)) == 1
    run("send-waiting", code=1)
    assert len(lines(waiting)) == 1


def test_a_service_that_does_not_answer_is_not_waited_for_longer(
    run: Run, tmp_path: Path, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_add, "PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hung:
        hung.bind(str(tmp_path / NAME))
        hung.listen()

        out, _ = run("add", "release", "from 1 to 2")

    assert out.startswith("the service does not answer; the event waits in ")
    assert len(lines(waiting)) == 1


@pytest.mark.parametrize("action", [("add", "network", "x"), ("send-waiting",)])
def test_another_user_can_not_add_and_what_waits_stays(
    run: Run, serve: Callable[..., FakeService], waiting: Path, action: tuple[str, ...]
) -> None:
    run("add", "network", "first")
    before = lines(waiting)
    serve("")

    _, err = run(*action, code=1)

    assert err == "smart-meter: the service accepts events only from root\n"
    assert lines(waiting) == before


def test_an_event_that_the_service_refuses_is_an_error(
    run: Run, serve: Callable[..., FakeService], waiting: Path
) -> None:
    serve("kind is not known here\n\x1b[2J")

    _, err = run("add", "network", "x", code=1)

    assert err == "smart-meter: kind is not known here??[2J\n"
    assert not waiting.exists()


def test_a_waiting_event_that_the_service_refuses_is_removed(
    run: Run, serve: Callable[..., FakeService], waiting: Path
) -> None:
    run("add", "network", "first")
    run("add", "network", "second")
    service = serve("kind is not known here", OK)

    _, err = run("send-waiting")

    assert err.endswith(" network first\\n': kind is not known here\n")
    assert [event.text for event in service.received] == ["second"]
    assert lines(waiting) == []


def test_the_file_is_bounded(run: Run, waiting: Path) -> None:
    waiting.parent.mkdir()
    waiting.write_bytes(b"x" * (MAX_WAITING - 10))

    _, err = run("add", "network", "x", code=1)

    assert err == f"smart-meter: {waiting} is full, so the event was not added; start the service\n"
    assert waiting.stat().st_size == MAX_WAITING - 10


@pytest.mark.parametrize("action", [("add", "network", "x"), ("send-waiting",)])
def test_a_file_that_stays_locked_is_an_error(
    run: Run, waiting: Path, monkeypatch: pytest.MonkeyPatch, action: tuple[str, ...]
) -> None:
    monkeypatch.setattr(events_add, "PATIENCE", 0.1)
    waiting.parent.mkdir()
    with waiting.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        _, err = run(*action, code=1)

    assert err == f"smart-meter: {waiting} is in use\n"


def test_a_link_or_a_pipe_in_the_files_place_is_refused(run: Run, waiting: Path, tmp_path: Path) -> None:
    waiting.parent.mkdir()
    other = tmp_path / "other"
    other.write_text("kept\n")
    waiting.symlink_to(other)
    run("add", "network", "x", code=1)
    assert other.read_text() == "kept\n"

    waiting.unlink()
    os.mkfifo(waiting)
    run("add", "network", "x", code=1)
    run("send-waiting", code=1)


@pytest.mark.parametrize(
    "arguments", [("add",), ("add", "network"), ("add", "network", " "), ("add", "network", "x" * 2100)]
)
def test_an_event_without_a_kind_or_a_fitting_text_is_refused(
    run: Run, waiting: Path, arguments: tuple[str, ...]
) -> None:
    _, err = run(*arguments, code=2)

    assert err.startswith("smart-meter: events add: ")
    assert not waiting.exists()


def test_a_service_that_ends_between_two_events_keeps_the_second(
    run: Run, waiting: Path, serve: Callable[..., FakeService], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "network", "first")
    run("add", "network", "second")
    service = serve()

    def send_once(runtime: Path, event: RootEvent, timeout: float) -> str:
        if service.received:
            raise ConnectionRefusedError
        return event_socket.send(runtime, event, timeout)

    monkeypatch.setattr("smart_meter.cli.commands.events_add.send", send_once)

    run("send-waiting", code=1)

    assert [line.split(" ", 1)[1] for line in lines(waiting)] == ["network second"]
    assert [event.text for event in service.received] == ["first"]
