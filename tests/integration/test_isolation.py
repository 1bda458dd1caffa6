"""A hostile host in the field zone: it can't disturb the Opta, and its connections are limited."""

from __future__ import annotations

import errno
import json
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.attacker import CROWD
from tests.integration.networks import LINKS, PI, Networks
from tests.integration.program import PATIENCE, Connection, Program, environment
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, write

pytestmark = pytest.mark.pi

PI_FIELD, PI_CONTROL = "192.168.1.100", "192.168.2.100"
SOURCES = tuple(f"192.168.1.{number}" for number in range(120, 150))
SECONDS = 3.0
"""How long each attack lasts."""
HELD_UP = 100.0
"""The limit of the Opta's p99 in milliseconds. Only a real delay reaches it; it is not a measure of speed."""
RECONNECT_SECONDS = 2.0
"""Seconds within which a new connection of the Opta is accepted and answered, after those in the queue."""
REPLY = answer(1, SAMPLE_REGISTERS)
OPTA = ("--rate", "100", "--reply", REPLY.hex())

# Limits that are small enough to be reached, on a separate port.
LIMITED_PORT = 503
CONNECTIONS, OF_ONE_CLIENT, IDLE, FRAME = 20, 5, 3.0, 1.0
LIMITED = f"""
[server]
max_connections = {CONNECTIONS}
max_connections_per_client = {OF_ONE_CLIENT}
idle_timeout = {IDLE}
frame_timeout = {FRAME}
"""
SWEEP = 1.0
"""Seconds between two checks of the time-outs."""


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    created = Networks("smi", {name: LINKS[name] for name in ("field", "control")})
    created.add_addresses("field", [f"{source}/24" for source in SOURCES])
    yield created
    created.remove()


@contextmanager
def _serving(networks: Networks, folder: Path, text: str, *arguments: str) -> Iterator[Program]:
    config = folder / "config.toml"
    config.write_text(text)
    program = Program(("run", "--config", str(config), *arguments), folder, prefix=networks.within(PI))
    try:
        program.wait_for("data \\(Ethernet interface\\)$")
        yield program
    finally:
        program.kill()


@pytest.fixture(scope="module")
def server(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The documented configuration, with a sample in it, and a statistics line each second."""
    folder = tmp_path_factory.mktemp("server")
    with _serving(networks, folder, "[journal]\nstatistics_interval = 1\n") as program:
        with networks.inside("field"), Connection(502, PI_FIELD) as esp32:
            assert esp32.ask(write(0))[7] == 16
        yield program


@pytest.fixture
def limited(networks: Networks, tmp_path: Path) -> Iterator[Program]:
    with _serving(networks, tmp_path, LIMITED, "--port", str(LIMITED_PORT)) as program:
        yield program


class Clients:
    """Connections that are closed at the end of the test."""

    def __init__(self, networks: Networks, stack: ExitStack) -> None:
        self._networks = networks
        self._stack = stack

    def connect(self, zone: str, source: str | None = None, port: int = LIMITED_PORT) -> Connection:
        with self._networks.inside(zone):
            connection = Connection(port, PI_FIELD if zone == "field" else PI_CONTROL, source)
        return self._stack.enter_context(connection)


@pytest.fixture
def clients(networks: Networks) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(networks, stack)


@contextmanager
def _running(networks: Networks, zone: str, module: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Run a program of the tests until the end of the block; afterwards the dictionary has its results."""
    results: dict[str, Any] = {}
    command = [*networks.within(zone), sys.executable, "-m", f"tests.integration.{module}", *arguments]
    variables = environment()
    variables["PYTHONPATH"] += f":{Path(__file__).parents[2]}"
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=variables) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield results
            results.update(json.loads(process.communicate(timeout=PATIENCE)[0]))
        finally:
            process.kill()


ATTACKS = ("hold", "slow", "flood", "bad")
MINIMUM = {
    # The least that an attack must have done.
    "hold": ("connected", CROWD),
    "slow": ("bytes", 1000),
    "flood": ("bursts", 20),
    "bad": ("frames", 200),
}


@pytest.mark.parametrize("kinds", [*((kind,) for kind in ATTACKS), ATTACKS], ids="+".join)
def test_the_opta_is_answered_correctly_and_in_time_during_an_attack(
    networks: Networks, server: Program, kinds: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        opta = stack.enter_context(_running(networks, "control", "opta", "hold", PI_CONTROL, *OPTA))
        attacks = {
            kind: stack.enter_context(_running(networks, "field", "attacker", kind, PI_FIELD, *SOURCES))
            for kind in kinds
        }
        time.sleep(SECONDS)
        counted = _connection_count(server)
        reconnected = _time_to_reconnect(networks)
        assert server.process.poll() is None, server.err
    with capsys.disabled():
        summary = f"{counted} connections; Opta {opta} ms, reconnected in {reconnected * 1000:.0f} ms"
        print(f"\n    {'+'.join(kinds)}: {attacks}; {summary}")
    for kind in kinds:
        what, minimum = MINIMUM[kind]
        # Concurrent attacks slow each other down.
        assert attacks[kind][what] >= minimum / len(kinds) ** 2, attacks
    if "hold" in kinds:
        assert 900 <= counted <= 1000
    assert opta["lost"] == []
    assert opta["reads"] > 50 * SECONDS
    assert opta["p99"] < HELD_UP
    assert reconnected < RECONNECT_SECONDS
    assert "[UNEXPECTED]" not in server.out


def _time_to_reconnect(networks: Networks) -> float:
    """Return how many seconds the Opta takes to connect and get a reply."""
    started = time.monotonic()
    with networks.inside("control"), Connection(502, PI_CONTROL) as opta:
        assert opta.ask(read(0, len(SAMPLE_REGISTERS))) == REPLY
    return time.monotonic() - started


def _connection_count(server: Program) -> int:
    """Return the number of connections in the service's last statistics line."""
    return int(re.findall(r"^\[STATS\] .*\(now (\d+)\)", server.out, re.MULTILINE)[-1])


def test_every_client_of_a_burst_of_a_thousand_is_answered(networks: Networks, server: Program) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    replies: dict[socket.socket, bytes] = {}
    try:
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            with networks.inside("field"):
                for number in range(1000):
                    client = stack.enter_context(socket.socket())
                    client.setblocking(False)
                    client.bind((SOURCES[number % len(SOURCES)], 0))
                    assert client.connect_ex((PI_FIELD, 502)) == errno.EINPROGRESS
                    selector.register(client, selectors.EVENT_WRITE)
            deadline = time.monotonic() + PATIENCE
            while len(replies) < 1000 and time.monotonic() < deadline:
                for key, events in selector.select(0.1):
                    client = key.fileobj  # type: ignore[assignment]  # only sockets are registered
                    if events & selectors.EVENT_WRITE:
                        client.send(read(0, len(SAMPLE_REGISTERS)))
                        selector.modify(client, selectors.EVENT_READ)
                    else:
                        replies[client] = client.recv(1024)
                        selector.unregister(client)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(replies) == 1000
    assert set(replies.values()) == {REPLY}


def _is_served(connection: Connection) -> bool:
    return connection.ask(read(0, 8))[7] == 3


def test_a_client_with_too_many_connections_loses_the_one_that_was_idle_longest(
    limited: Program, clients: Clients
) -> None:
    others = clients.connect("field", SOURCES[1])
    assert _is_served(others)
    own = [clients.connect("field", SOURCES[0]) for _ in range(OF_ONE_CLIENT)]
    # The first one has just been used, so the second one has been idle longest.
    assert all(_is_served(connection) for connection in (*own, own[0]))
    newest = clients.connect("field", SOURCES[0])
    assert _is_served(newest)
    assert own.pop(1).is_closed()
    assert all(_is_served(connection) for connection in (others, *own, newest))
    limited.wait_for(rf"^\[CLOSED\] ESP32 \({re.escape(SOURCES[0])}\): ")


def test_with_too_many_connections_in_total_the_opta_is_kept_although_idle_longest(
    limited: Program, clients: Clients
) -> None:
    opta = clients.connect("control")
    assert _is_served(opta)
    crowd = []
    for number in range(CONNECTIONS):
        crowd.append(clients.connect("field", SOURCES[number // OF_ONE_CLIENT]))
        assert _is_served(crowd[-1])
    assert crowd.pop(0).is_closed(), "the oldest connection of the crowd was not evicted"
    assert all(_is_served(connection) for connection in (opta, *crowd))


def test_a_slow_request_is_closed_in_time_although_bytes_keep_arriving(
    limited: Program, clients: Clients
) -> None:
    dripping, silent = clients.connect("field", SOURCES[0]), clients.connect("field", SOURCES[1])
    opta = clients.connect("control")
    started = time.monotonic()
    silent.send(read(0, 8)[:7])
    dripping.socket.settimeout(0.1)
    endless = write(0, (0,) * 100)
    for number in range(len(endless) - 1):
        dripping.send(endless[number : number + 1])
        try:
            assert dripping.socket.recv(1) == b""
        except TimeoutError:
            assert time.monotonic() - started < FRAME + SWEEP + 0.5, "not closed in time after the first byte"
            continue
        except ConnectionResetError:
            pass
        break
    assert time.monotonic() - started >= FRAME
    assert silent.is_closed()
    assert time.monotonic() - started < FRAME + SWEEP + 0.5
    assert _is_served(opta)
    limited.wait_for(r"^\[CLOSED\] ESP32 \(192\.168\.1\.\d+\): the rest of a request did not come within 1 s")


def test_an_idle_connection_is_closed_but_one_in_use_is_not(limited: Program, clients: Clients) -> None:
    idle, opta = clients.connect("field", SOURCES[0]), clients.connect("control")
    assert _is_served(idle)
    started = time.monotonic()
    idle.socket.settimeout(0.2)
    while time.monotonic() - started < IDLE + SWEEP + 0.5:
        assert _is_served(opta)
        try:
            assert idle.socket.recv(1) == b""
        except TimeoutError:
            continue
        except ConnectionResetError:
            pass
        break
    assert IDLE <= time.monotonic() - started < IDLE + SWEEP + 0.5
    assert _is_served(opta)
    limited.wait_for(r"^\[CLOSED\] ESP32 .* idle for 3 s")


def test_a_field_host_gets_no_reply_at_the_control_address(
    networks: Networks, limited: Program, clients: Clients
) -> None:
    # Linux answers for each of its addresses on each of its links, so a host only needs a route.
    networks.ip("field", "route", "add", "192.168.2.0/24", "via", PI_FIELD)
    try:
        with networks.inside("field"):
            intruder = Connection(LIMITED_PORT, PI_CONTROL)
        with intruder:
            assert intruder.is_closed()
    finally:
        networks.ip("field", "route", "delete", "192.168.2.0/24")
    assert _is_served(clients.connect("field"))
    assert _is_served(clients.connect("control"))
