"""The socket of root's events: who may use it, what it accepts, and that nothing stops the event loop."""

import contextlib
import errno
import json
import os
import random
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_meter.log.audit.kinds import BY_ROOT, Kind
from smart_meter.net.event_loop import EventLoop
from smart_meter.runtime import event_socket
from smart_meter.runtime.event_socket import (
    BUSY,
    EVENTS_PER_SECOND,
    MAX_CONNECTIONS,
    MAX_MESSAGE,
    NAME,
    OK,
    EventSocket,
    RootEvent,
    parse,
    send,
)

Noted = tuple[Kind, str, str]
TIMEOUT = 20.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """An event loop in a thread of its own, with the socket."""

    def __init__(self, runtime: Path, allowed_uid: int) -> None:
        self.runtime = runtime
        self.noted: list[Noted] = []
        self.errors: list[BaseException] = []
        self.notices: list[str] = []
        self.clock = Clock()
        self.loop = EventLoop(self.errors.append, self.clock)
        self.socket = EventSocket(self.loop, runtime, self.note, self.notices.append, allowed_uid=allowed_uid)
        self.socket.start()
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()

    def note(self, kind: Kind, text: str, detail: str) -> None:
        self.noted.append((kind, text, detail))

    def ask(self, message: bytes) -> bytes:
        """Return the reply to one message in a connection of its own."""
        with self.connect() as client:
            # The service may have closed the connection already.
            with contextlib.suppress(BrokenPipeError):
                client.send(message)
            return receive(client)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # With a time limit, it would not wait while others wait to be accepted.
        client.connect(str(self.runtime / NAME))
        client.settimeout(TIMEOUT)
        return client

    def pass_time(self, seconds: float) -> None:
        """Set the clock forward, and wait until the loop has seen it."""
        seen = threading.Event()
        self.clock.now += seconds
        for _ in range(2):
            self.loop.post(seen.set)
            assert seen.wait(TIMEOUT)
            seen.clear()

    def end(self) -> None:
        if self._thread.is_alive():
            self.loop.post(self.loop.stop)
            self._thread.join(TIMEOUT)
            self.socket.close()
            self.loop.close()


def receive(client: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return client.recv(1000)
    return b""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, os.getuid())
    yield bench
    bench.end()
    assert bench.errors == []


def message(kind: str = "release", text: str = "from 1 to 2", **more: object) -> bytes:
    return json.dumps({"kind": kind, "text": text, **more}).encode()


@pytest.mark.parametrize("kind", sorted(kind.value for kind in BY_ROOT))
def test_an_event_of_each_kind_that_root_adds_is_noted(bench: Bench, kind: str) -> None:
    assert bench.ask(message(kind)) == OK.encode()
    assert bench.noted == [(Kind(kind), "from 1 to 2", "")]


@pytest.mark.parametrize("kind", sorted({kind.value for kind in Kind} - {kind.value for kind in BY_ROOT}))
def test_the_services_own_kinds_are_refused(bench: Bench, kind: str) -> None:
    assert b"kind is not one of configuration, firewall, " in bench.ask(message(kind))
    assert bench.noted == []


def test_only_the_owner_can_connect(bench: Bench) -> None:
    mode = (bench.runtime / NAME).stat().st_mode

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_another_user_than_the_allowed_gets_no_reply(tmp_path: Path) -> None:
    bench = Bench(tmp_path, os.getuid() + 1)

    assert bench.ask(message()) == b""

    bench.end()
    assert bench.noted == []
    assert bench.errors == []


def test_the_service_admits_only_root(tmp_path: Path) -> None:
    loop = EventLoop(lambda _: None)

    assert EventSocket(loop, tmp_path, print, print)._allowed_uid == 0

    loop.close()


def test_an_event_of_the_past_carries_its_time(bench: Bench) -> None:
    assert bench.ask(message(at=1_700_000_000)) == OK.encode()
    assert bench.noted == [(Kind.RELEASE, "from 1 to 2", "at 2023-11-14T22:13:20+00:00")]


def test_control_characters_and_surrogates_are_replaced(bench: Bench) -> None:
    text = "a\nb\x1b[2J\u202e\u2028\0" + "\ud800" + "ü"

    assert bench.ask(message(text=text)) == OK.encode()
    assert bench.noted == [(Kind.RELEASE, "a?b?[2J????ü", "")]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"{", "the message is not JSON in UTF-8"),
        (b"\xff\xfe", "the message is not JSON in UTF-8"),
        (b"[" * MAX_MESSAGE, "the message is not JSON in UTF-8"),
        (b"[]", "the message is not a JSON object"),
        (b"1" * MAX_MESSAGE, "the message is not a JSON object"),
        (b"x" * (MAX_MESSAGE + 1), "the message is longer than 2048 bytes"),
        (b"x" * 100_000, "the message is longer than 2048 bytes"),
        (b"{}", "kind is not one of configuration, firewall, network, release, rollback"),
        (b'{"kind": ["release"]}', "kind is not one of configuration, firewall, network, release, rollback"),
        (b'{"kind": "release"}', "text is missing or empty"),
        (message(text=" \n "[:1]), "text is missing or empty"),
        (b'{"kind": "release", "text": 5}', "text is missing or empty"),
        (message(at=-1), "at is not a time in Unix seconds"),
        (message(at=True), "at is not a time in Unix seconds"),
        (message(at="now"), "at is not a time in Unix seconds"),
        (message(at=float("nan")), "at is not a time in Unix seconds"),
        (message(at=float("inf")), "at is not a time in Unix seconds"),
        (message(at=10**600), "at is not a time in Unix seconds"),
    ],
)
def test_a_malformed_message_is_refused_with_the_reason(bench: Bench, sent: bytes, reason: str) -> None:
    assert bench.ask(sent).decode() == reason
    assert bench.noted == []


def test_the_longest_message_is_accepted(bench: Bench) -> None:
    text = "x" * (MAX_MESSAGE - len(message(text="")))

    assert bench.ask(message(text=text)) == OK.encode()
    assert bench.noted == [(Kind.RELEASE, text, "")]


def test_no_message_raises_anything_but_a_reason() -> None:
    chosen = random.Random(11)  # noqa: S311 - the same messages in each run
    for _ in range(20_000):
        mutant = bytearray(message(at=1.7e9))
        for _ in range(chosen.randrange(1, 8)):
            place = chosen.randrange(len(mutant))
            mutant[place : place + chosen.randrange(3)] = chosen.randbytes(chosen.randrange(3))
        with contextlib.suppress(ValueError):
            assert parse(bytes(mutant)).kind in BY_ROOT


def test_hostile_connections_stop_neither_the_loop_nor_the_next_event(bench: Bench) -> None:
    chosen = random.Random(12)  # noqa: S311 - the same messages in each run
    for _ in range(300):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError), bench.connect() as client:
            for _ in range(chosen.randrange(3)):
                client.send(chosen.randbytes(chosen.randrange(3000)))
            if chosen.random() < 0.5:
                # Close at once, with a reset.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif chosen.random() < 0.5:
                client.shutdown(socket.SHUT_RDWR)
    bench.pass_time(1.0)

    assert bench.ask(message()) == OK.encode()
    assert bench.errors == []


def test_more_than_ten_events_a_second_are_refused(bench: Bench) -> None:
    replies = [bench.ask(message()) for _ in range(EVENTS_PER_SECOND + 3)]

    assert replies == [OK.encode()] * EVENTS_PER_SECOND + [BUSY.encode()] * 3
    assert len(bench.noted) == EVENTS_PER_SECOND
    bench.pass_time(1.0)
    assert bench.ask(message()) == OK.encode()


def test_a_ninth_connection_is_refused_and_the_eight_still_work(bench: Bench) -> None:
    clients = [bench.connect() for _ in range(MAX_CONNECTIONS)]

    with bench.connect() as ninth:
        assert receive(ninth) == BUSY.encode()
    for _ in range(50):
        assert send(bench.runtime, RootEvent(Kind.NETWORK, "confirmed"), TIMEOUT) == BUSY
    for client in clients:
        client.send(message())
        assert receive(client) == OK.encode()
        client.close()
    assert len(bench.noted) == MAX_CONNECTIONS
    assert bench.ask(message()) == OK.encode()


def test_a_client_that_sends_nothing_is_closed_after_the_time_limit(bench: Bench) -> None:
    with bench.connect() as silent:
        bench.pass_time(0.0)
        bench.pass_time(event_socket.MESSAGE_SECONDS - 0.1)
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.recv(1)
        bench.pass_time(0.2)
        silent.settimeout(TIMEOUT)
        assert receive(silent) == b""


def test_one_message_ends_the_connection(bench: Bench) -> None:
    with bench.connect() as client:
        client.send(message())
        assert receive(client) == OK.encode()
        assert receive(client) == b""
    assert bench.socket._connections == {}


def test_without_descriptors_the_loop_does_not_spin(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    class Full:
        """A listener that can't accept."""

        def __init__(self, listener: socket.socket) -> None:
            self._listener = listener

        def accept(self) -> None:
            attempts.append(1)
            raise OSError(errno.EMFILE, "too many open files")

        def fileno(self) -> int:
            return self._listener.fileno()

        def close(self) -> None:
            self._listener.close()

    real = bench.socket._listener
    assert real is not None
    full = Full(real)
    monkeypatch.setattr(bench.socket, "_listener", full)
    with bench.connect() as client:
        client.send(message())
        bench.pass_time(0.0)
        bench.pass_time(0.9)
        assert len(attempts) == 1
        bench.pass_time(0.2)
        bench.pass_time(0.0)
        assert len(attempts) == 2


def test_a_stale_socket_is_replaced_and_closing_removes_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(tmp_path / NAME))
    bench = Bench(tmp_path, os.getuid())

    assert bench.ask(message()) == OK.encode()
    with bench.connect() as waiting:
        bench.end()
        assert receive(waiting) == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", ["file", "no folder", "long path"])
def test_if_the_socket_can_not_be_created_the_service_continues(tmp_path: Path, reason: str) -> None:
    runtime = tmp_path
    if reason == "file":
        (tmp_path / NAME).write_text("kept")
    elif reason == "no folder":
        runtime = tmp_path / "nowhere"
    else:
        runtime = tmp_path / ("x" * 200)
        runtime.mkdir()
    bench = Bench(runtime, os.getuid())

    bench.end()

    [notice] = bench.notices
    assert notice.startswith(f"[EVENTS] {runtime / NAME}: ")
    assert bench.errors == []
    if reason == "file":
        assert (tmp_path / NAME).read_text() == "kept"


def test_without_a_runtime_directory_there_is_no_socket() -> None:
    loop = EventLoop(lambda _: None)
    unused = EventSocket(loop, None, print, print)

    unused.start()
    unused.close()
    loop.close()


def test_the_client_gets_the_reply(bench: Bench) -> None:
    assert send(bench.runtime, RootEvent(Kind.NETWORK, "confirmed"), TIMEOUT) == OK
    assert bench.noted == [(Kind.NETWORK, "confirmed", "")]
    assert send(bench.runtime, RootEvent(Kind.START, "x"), TIMEOUT).startswith("kind is not one of")


def test_the_client_of_a_user_who_is_refused_gets_an_empty_reply(tmp_path: Path) -> None:
    bench = Bench(tmp_path, os.getuid() + 1)

    assert send(tmp_path, RootEvent(Kind.NETWORK, "confirmed"), TIMEOUT) == ""

    bench.end()


def test_a_crowd_that_waits_to_be_accepted_makes_the_client_busy(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(str(tmp_path / NAME))
        listener.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        first.connect(str(tmp_path / NAME))

        assert send(tmp_path, RootEvent(Kind.NETWORK, "confirmed"), TIMEOUT) == BUSY


def test_a_reply_is_received_though_the_service_closed_with_the_message_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / NAME))
        listener.listen()

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1, socket.MSG_PEEK)
                connection.send(BUSY.encode())

        service = threading.Thread(target=reply, daemon=True)
        service.start()

        class Late(socket.socket):
            """The client receives only once the service has closed the connection."""

            def recv(self, size: int, flags: int = 0, /) -> bytes:
                if threading.current_thread() is not service:
                    service.join(TIMEOUT)
                return super().recv(size, flags)

        monkeypatch.setattr(socket, "socket", Late)

        assert send(tmp_path, RootEvent(Kind.NETWORK, "confirmed"), TIMEOUT) == BUSY


def test_the_client_fails_if_nothing_listens(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        send(tmp_path, RootEvent(Kind.NETWORK, "confirmed"), TIMEOUT)
