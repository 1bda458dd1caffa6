"""The service in the test's own thread: what a reload does to its connections."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_meter.config import FIELD_ZONE, Config
from smart_meter.net.event_loop import READABLE
from smart_meter.net.listen import bind
from smart_meter.runtime.service import Options, Service
from tests.unit.wire import answer, read


class Bench:
    """A service whose loop does not run; clients are connected by hand."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "config.toml"
        self.source.write_text("")
        self.log = folder / "log"
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        self.service = Service(Config(), bind("127.0.0.1", 0), Options(output=output, source=self.source))
        self.sockets = [self.service._socket]

    def connect(self, address: str) -> socket.socket:
        """Return a client's end; the address is the one that the service sees."""
        client, accepted = socket.socketpair()
        client.setblocking(False)
        session = self.service.concentrator.admit(address)
        assert session is not None
        self.service._server.add(accepted, address, session)
        self.sockets += [client, accepted]
        return client

    def ask(self, client: socket.socket) -> bytes:
        """Return the reply to a read; nothing if the connection is closed."""
        try:
            client.send(read(0, 1))
        except OSError:
            return b""
        for connection in self.service._server.connections:
            connection.ready(READABLE)
        return client.recv(100)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for each in made.sockets:
        each.close()
    made.service._loop.close()


def test_a_reload_that_removes_a_clients_zone_closes_its_connection_and_no_other(bench: Bench) -> None:
    esp32, opta = bench.connect("192.168.1.50"), bench.connect("192.168.2.10")
    assert [bench.ask(esp32), bench.ask(opta)] == [answer(1, (0,))] * 2
    bench.service._apply(Config(zones=(FIELD_ZONE,)))
    assert [bench.ask(esp32), bench.ask(opta)] == [answer(1, (0,)), b""]
    assert bench.service.concentrator.statistics.open_connections == 1


def test_a_reload_reads_the_file_again(bench: Bench) -> None:
    bench.connect("192.168.2.10")
    bench.source.write_text("[server]\nmax_connections = 7\n")
    bench.service._reload()
    assert bench.service.config.server.max_connections == bench.service._server.limits.connections == 7
    assert len(bench.service._server.connections) == 1


def test_a_reload_of_an_invalid_file_changes_nothing(bench: Bench) -> None:
    running = bench.service.config
    bench.source.write_text("[server]\nmax_connections = -1\n")
    bench.service._reload()
    assert bench.service.config is running


def test_a_stopping_service_does_not_reload(bench: Bench) -> None:
    running = bench.service.config
    bench.service._begin_stop()
    bench.source.write_text("[server]\nmax_connections = 7\n")
    bench.service._reload()
    assert bench.service.config is running
