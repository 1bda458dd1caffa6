"""`smart-meter run` as a process: its output, its errors and its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.program import PATIENCE, Connection, Program, environment, run
from tests.unit.log.test_formatter import BANNER
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, wire, write, write_one

Start = Callable[..., Program]
WRITTEN = wire("0001 0000 0006 01 10 0000 0008")
TRIAL = ("run", "--trial", "--port", "0")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_the_journal_is_as_documented(start: Start) -> None:
    program = start("run", "--port", "0")
    port = program.port()
    banner = BANNER.replace(":502", f":{port}")
    program.wait_for(r"^\[NO ADDRESS\]", count=2)
    assert program.out.startswith(f"{banner}\n")
    # This machine does not have the zones' addresses.
    missing = [line for line in program.out.splitlines() if line.startswith("[NO ADDRESS]")]
    assert [re.findall(r"192\.168\.\d\.100|wlan0|eth0", line) for line in missing] == [
        ["192.168.1.100", "wlan0"],
        ["192.168.2.100", "eth0"],
    ]
    with program.connect() as client:
        assert client.ask(read(0, 8)) == answer(1, (0,) * 8)
        assert client.ask(write(0)) == wire("0001 0000 0003 01 90 01")
    program.wait_for(r"^\[TX TO LOCALHOST\] Served registers 0-7 \| Total served: 1$")
    program.wait_for(
        r"^\[REFUSED\] LOCALHOST \(127\.0\.0\.1\) wrote registers 0-7 of unit 1 with function 16: "
        r"exception 01, it may only read$"
    )


def test_a_trial_logs_both_peers_and_the_totals_at_the_end(start: Start) -> None:
    program = start(*TRIAL)
    with program.connect() as client:
        assert client.ask(write(0)) == WRITTEN
        assert client.ask(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    assert program.stop()[0] == 0
    assert program.out.splitlines()[-3:-1] == [
        "[RX FROM ESP32] 2016-01-01T06:00:00+00:00 | P_ac=250.0W P_dc=260.0W V_dc=48.50V I_dc=5.36A "
        "G=850.0W/m² T_cell=45.6°C | Total RX: 1",
        "[TX TO OPTA] Served registers 0-7 | Total served: 1",
    ]
    last = program.out.splitlines()[-1]
    assert last.startswith(
        "[STATS] Stopped | Received: 1 | Served: 1 | Refused: 0 | Exceptions: 0 | Connections: 1"
    )
    assert program.err == ""


def test_statistics_are_logged_at_their_interval(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[journal]\nstatistics_interval = 0.2\n")
    program = start(*TRIAL, "--config", str(config))
    program.wait_for(r"^\[STATS\] Received: 0 .* \| Last sample: none yet$", count=2)
    with program.connect() as client:
        client.ask(write(0))
    program.wait_for(r"^\[STATS\] Received: 1 .* \| Last sample: \d\.\d s ago$")


def test_with_the_json_format_every_line_is_json(start: Start) -> None:
    program = start(*TRIAL, "--log-format", "json")
    program.wait_for('"event":"start"')
    port = json.loads(program.out.splitlines()[0])["port"]
    with Connection(port) as client:
        client.ask(write(0))
        client.ask(read(2, 3))
    assert program.stop()[0] == 0
    events = [json.loads(line) for line in program.out.splitlines()]
    assert [event["event"] for event in events] == ["start", "writer", "rx", "tx", "stop"]
    assert events[2]["values"]["T_cell"] == 45.6
    assert (events[3]["address"], events[3]["quantity"]) == (2, 3)


def test_the_service_does_not_import_pymodbus(start: Start) -> None:
    program = start(*TRIAL, extra={"PYTHONPROFILEIMPORTTIME": "1"})
    with program.connect() as client:
        client.ask(read(0, 1))
    program.stop()
    assert "smart_meter.runtime.service" in program.err
    assert "pymodbus" not in program.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_with_0_within_two_seconds(number: signal.Signals, start: Start) -> None:
    program = start(*TRIAL)
    with program.connect() as client:
        client.ask(read(0, 1))
        code, seconds = program.stop(number)
    assert code == 0
    assert seconds < 2
    assert "[STATS] Stopped" in program.out
    assert program.err == ""


def test_a_signal_during_the_start_ends_the_program_cleanly(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[history]\npath = "{tmp_path}/history.db"\n')
    for _ in range(5):
        program = start(*TRIAL, "--config", str(config))
        program.wait_for("^Waiting for:$")
        assert program.stop()[0] == 0


def test_forty_stops_with_connected_clients_log_nothing_unexpected(start: Start, tmp_path: Path) -> None:
    for _ in range(2):
        programs = [start(*TRIAL, extra={"RUNTIME_DIRECTORY": str(tmp_path)}) for _ in range(20)]
        with ExitStack() as stack:
            for program in programs:
                # One client has sent a request and one has not; neither closes its connection.
                stack.enter_context(program.connect()).ask(read(0, 1))
                stack.enter_context(program.connect())
            for program in programs:
                # In total more than the 3 s between two updates of the service's state.
                program.process.terminate()
                time.sleep(0.16)
            assert [program.process.wait(PATIENCE) for program in programs] == [0] * 20
        assert "[UNEXPECTED]" not in "".join(program.out for program in programs)
        assert "".join(program.err for program in programs) == ""


def test_a_request_that_is_partly_received_at_sigterm_is_answered(start: Start) -> None:
    program = start(*TRIAL)
    with program.connect() as client:
        client.ask(write(0))
        client.send(read(0, 8)[:9])
        started = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        client.send(read(0, 8)[9:])
        assert client.receive(25) == answer(1, SAMPLE_REGISTERS)
        assert client.is_closed()
    assert program.process.wait(PATIENCE) == 0
    assert time.monotonic() - started < 2


def test_all_requests_sent_before_sigterm_are_answered(start: Start) -> None:
    program = start(*TRIAL)
    with program.connect() as client:
        client.ask(read(0, 1))
        client.send(read(0, 8) * 200)
        program.process.send_signal(signal.SIGTERM)
        assert client.receive(25 * 200) == answer(1, (0,) * 8) * 200
        assert client.is_closed()
    assert program.process.wait(PATIENCE) == 0


def test_sighup_does_not_end_the_program(start: Start) -> None:
    program = start(*TRIAL)
    with program.connect() as client:
        program.process.send_signal(signal.SIGHUP)
        program.wait_for(r"^\[NOT RELOADED\] the running configuration stays$")
        assert client.ask(read(0, 1)) == answer(1, (0,))
    assert program.stop()[0] == 0


def test_after_a_kill_the_port_can_be_bound_again_at_once(start: Start) -> None:
    first = start(*TRIAL)
    port = first.port()
    with first.connect() as client:
        client.ask(write(0))
        first.kill()
        second = start("run", "--trial", "--port", str(port))
        assert second.port() == port
        with second.connect() as again:
            assert again.ask(read(0, 1)) == answer(1, (0,))


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_the_service_manager_is_notified(abstract: bool, start: Start, tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(PATIENCE)
        port = free_port()
        program = start(
            *TRIAL[:-1],
            str(port),
            extra={"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "200000"},
        )
        assert manager.recv(4096) == b"READY=1"
        with Connection(port) as client:
            client.ask(write(0))
            received = [manager.recv(4096)]
            # The watchdog is notified every 0.1 s, the status line is updated every 3 s.
            while not received[-1].startswith(b"STATUS=Received 1"):
                received.append(manager.recv(4096))
            assert received[0] == b"STATUS=Received 0, served 0, refused 0, 0 connections"
            assert received[-1] == b"STATUS=Received 1, served 0, refused 0, 1 connections"
            assert 15 <= received.count(b"WATCHDOG=1") <= 40
        program.process.send_signal(signal.SIGTERM)
        rest = [manager.recv(4096)]
        while rest[-1] != b"STOPPING=1":
            rest.append(manager.recv(4096))
        assert set(rest[:-1]) <= {b"WATCHDOG=1"}
        assert program.process.wait(PATIENCE) == 0


def test_a_watchdog_for_another_process_is_not_notified(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        extra = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
        program = start(*TRIAL, extra=extra)
        assert manager.recv(4096) == b"READY=1"
        assert manager.recv(4096).startswith(b"STATUS=")
        time.sleep(0.2)
        program.process.send_signal(signal.SIGTERM)
        assert manager.recv(4096) == b"STOPPING=1"


def test_the_error_for_a_port_in_use_names_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ended = run(*TRIAL[:-1], str(port))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"smart-meter: port {port} is in use by ")
    assert f"(process {os.getpid()})" in ended.stderr
    assert ended.stderr.count("\n") == 1


AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


def as_nobody(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *AS_NOBODY, sys.executable, "-m", "smart_meter", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )


def test_the_error_for_a_port_in_use_by_another_user_shows_how_to_find_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ended = as_nobody(*TRIAL[:-1], str(port))
    assert ended.returncode == 1
    assert f"`sudo ss -ltnp 'sport = :{port}'` names it" in ended.stderr


def test_the_error_for_a_port_below_1024_shows_how_to_get_permission() -> None:
    # In a separate network namespace, where no other program of this machine listens.
    ended = as_nobody("run", prefix=("unshare", "--net"))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(
        "smart-meter: user nobody may not bind port 502: ports below 1024 need permission"
    )
    for part in (
        "authbind --deep smart-meter run",
        "-o nobody -m 0500",
        "/etc/authbind/byport/502",
        "--trial",
    ):
        assert part in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_an_address_of_another_machine_is_reported() -> None:
    ended = run("run", "--host", "192.0.2.1", "--port", "0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("smart-meter: no address 192.0.2.1 on this machine.")


def test_a_refused_configuration_exits_with_2(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[server]\nport = 0\n")
    ended = run("run", "--config", str(config))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"{config}: server.port: 0 is out of range; give an integer from 1 to 65535\n"


def test_a_journal_that_is_not_read_does_not_stop_modbus(start: Start, tmp_path: Path) -> None:
    out, into = os.pipe()
    try:
        port = free_port()
        program = start(*TRIAL[:-1], str(port), stdout=into)
        # The banner is printed once the port is bound.
        assert os.read(out, 4096).startswith(b"=====")
        with Connection(port) as client:
            # About 500 kB of journal, into a pipe with a capacity of 64 kB.
            for _ in range(100):
                client.send(read(0, 8) * 100)
                assert client.receive(2500) == answer(1, (0,) * 8) * 100
        code, seconds = program.stop()
    finally:
        os.close(out)
        os.close(into)
    assert code == 0
    assert seconds < 2
    assert program.err == ""


def test_a_journal_whose_reader_has_ended_does_not_stop_modbus(start: Start) -> None:
    out, into = os.pipe()
    port = free_port()
    program = start(*TRIAL[:-1], str(port), stdout=into)
    os.close(into)
    os.read(out, 4096)
    os.close(out)
    with Connection(port) as client:
        for _ in range(100):
            assert client.ask(read(0, 8)) == answer(1, (0,) * 8)
    assert program.stop()[0] == 0
    assert program.err == ""


def test_a_journal_on_a_full_disk_does_not_stop_modbus(start: Start) -> None:
    port = free_port()
    with Path("/dev/full").open("wb") as full:
        program = start(*TRIAL[:-1], str(port), stdout=full.fileno())
    with wait_for_connection(port) as client:
        for _ in range(100):
            assert client.ask(read(0, 8)) == answer(1, (0,) * 8)
    assert program.stop()[0] == 0
    assert program.err == ""


def wait_for_connection(port: int) -> Connection:
    """Connect to a program whose output can't be read, so that it is not known when it is ready."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return Connection(port)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_without_an_output_the_journal_is_not_sent_to_a_client(tmp_path: Path) -> None:
    port = free_port()
    command = f"exec {sys.executable} -m smart_meter run --trial --port {port} <&- >&- 2>&-"
    process = subprocess.Popen(["sh", "-c", command], env=environment(), cwd=tmp_path)
    try:
        with wait_for_connection(port) as client:
            for _ in range(50):
                assert client.ask(read(0, 8)) == answer(1, (0,) * 8)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_without_free_descriptors_connected_clients_are_served_and_new_ones_wait(start: Start) -> None:
    program = start(*TRIAL, prefix=("prlimit", "--nofile=40:40"))
    port = program.port()
    with program.connect() as first:
        crowd = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(60)]
        for _ in range(20):
            assert first.ask(read(0, 1)) == answer(1, (0,))
        for client in crowd:
            client.close()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with Connection(port) as late:
                    assert late.ask(read(0, 1)) == answer(1, (0,))
                break
            except (ConnectionError, AssertionError):
                assert time.monotonic() < deadline
        assert first.ask(read(0, 1)) == answer(1, (0,))
    assert program.stop()[0] == 0
    assert "Traceback" not in program.out + program.err


def test_as_many_connections_are_accepted_as_the_hard_limit_allows(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[server]\nmax_connections_per_client = 1000\n")
    program = start(*TRIAL, "--config", str(config), prefix=("prlimit", "--nofile=32:4096"))
    port = program.port()
    clients = [Connection(port) for _ in range(200)]
    assert [client.ask(read(0, 1)) for client in clients] == [answer(1, (0,))] * 200
    for client in clients:
        client.socket.close()


def test_random_bytes_from_many_clients_do_no_harm(start: Start) -> None:
    program = start(*TRIAL)
    port = program.port()
    for number in range(200):
        with Connection(port) as client:
            client.send(os.urandom(1 + number * 7 % 300))
    with program.connect() as client:
        assert client.ask(write_one(0, 1)) == write_one(0, 1)
        assert client.ask(read(0, 1)) == answer(1, (1,))
    program.stop()
    bad = re.search(r"Bad frames: (\d+)", program.out)
    assert bad is not None
    assert int(bad[1]) > 100
    assert program.err == ""


MEBIBYTE = 1 << 20


def resident(program: Program) -> int:
    """Return the resident memory of a program in bytes."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def send_until_held_back(client: Connection, request: bytes, most: int) -> int:
    """Send requests until the server stops reading; return how many bytes it took, at most `most`."""
    sent = 0
    try:
        while sent < most:
            sent += client.socket.send(request[sent % len(request) :])
    except TimeoutError:
        pass
    return sent


def test_clients_that_never_read_are_held_back_and_cost_little_memory(start: Start) -> None:
    program = start(*TRIAL)
    request = read(0, 8) * 1000
    with ExitStack() as clients:
        silent = [clients.enter_context(program.connect()) for _ in range(8)]
        before = resident(program)
        for client in silent:
            client.socket.settimeout(0.5)
            # The kernel's buffers take a few MiB; a server that kept reading would take everything.
            assert send_until_held_back(client, request, 64 * MEBIBYTE) < 64 * MEBIBYTE
        assert resident(program) - before < len(silent) * MEBIBYTE
        with program.connect() as client:
            assert client.ask(read(0, 1)) == answer(1, (0,))
