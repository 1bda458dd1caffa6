"""Accepting, the limits of connections, and the stop."""

import errno
import socket
from typing import cast

import pytest

from smart_meter.net.event_loop import READABLE, EventLoop
from smart_meter.net.server import Server
from tests.unit.net.house import LIMITS, House, Loop, Recorder
from tests.unit.wire import read, write

ENDS = {
    "idle": (b"", 1 << 30),
    "asked before": (read(0, 1), 1 << 30),
    "in the middle of a request": (read(0, 1)[:9], 1 << 30),
    "deaf": (read(0, 1), 0),
}


@pytest.mark.parametrize(("data", "room"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("waits", [False, True], ids=["", "a reply waits for the disk"])
def test_at_the_end_every_timer_comes_and_none_meets_a_closed_connection(
    data: bytes, room: int, waits: bool
) -> None:
    house = House(LIMITS._replace(idle=0.3, frame=0.3))
    recorder = Recorder()
    house.concentrator.use_sink(recorder, durable=waits)
    clients = [house.client("192.168.1.50"), house.client("192.168.2.10")]
    house.loop.now += 1
    for client in clients:
        client.socket.room = room
        client.bring(data)
        client.house.go_on()
    clients[0].bring(write(0))
    stopped: list[float] = []
    house.server.stop(lambda: stopped.append(house.loop.now))
    house.loop.pass_time()
    house.go_on()
    assert len(stopped) == 1
    assert house.server.connections == []
    assert {client.socket.end for client in clients} <= {"closed", "aborted"}
    # The disk answers when all is over.
    recorder.stored = recorder.tickets
    house.server.release()
    house.go_on()
    assert (len(stopped), house.concentrator.statistics.open_connections) == (1, 0)


def test_over_its_limit_a_clients_own_longest_idle_connection_is_evicted() -> None:
    house = House(LIMITS._replace(connections=10, connections_per_client=2))
    first, second = house.client("192.168.1.50"), house.client("192.168.1.50")
    house.loop.now += 1
    first.send(read(0, 1))
    third, other = house.client("192.168.1.50"), house.client("192.168.1.51")
    assert [c.socket.end for c in (first, second, third, other)] == [None, "aborted", None, None]
    assert house.concentrator.statistics.evicted == 1
    assert house.journal[-1] == (
        "[CLOSED] ESP32 (192.168.1.50): it was idle for longest, and there were too many connections"
    )


def test_over_the_limit_in_all_the_zone_with_the_most_connections_loses_one() -> None:
    house = House(LIMITS._replace(connections=3))
    opta = house.client("192.168.2.10")
    house.loop.now += 1
    crowd = []
    for number in range(20, 30):
        crowd.append(house.client(f"192.168.1.{number}"))
        house.loop.now += 1
    assert opta.socket.end is None
    assert [client.socket.end for client in crowd] == ["aborted"] * 8 + [None] * 2
    assert house.concentrator.statistics.open_connections == 3


def test_a_few_addresses_with_many_connections_never_evict_a_neighbour_with_one() -> None:
    house = House(LIMITS._replace(connections=50))
    esp32, opta = house.client("192.168.1.50"), house.client("192.168.2.10")
    crowd = []
    for number in range(400):
        house.loop.now += 1
        crowd.append(house.client(f"192.168.1.{110 + number % 20}"))
    assert (esp32.socket.end, opta.socket.end) == (None, None)
    assert len(house.server.connections) == 50
    open_ = dict.fromkeys(range(20), 0)
    for number, client in enumerate(crowd):
        open_[number % 20] += client.socket.end is None
    assert set(open_.values()) <= {2, 3}


def test_no_address_loses_its_only_connection_to_the_second_of_another() -> None:
    house = House(LIMITS._replace(connections=3))
    first, second, third = (house.client(f"192.168.1.{number}") for number in (50, 51, 52))
    house.loop.now += 1
    again = house.client("192.168.1.52")
    assert [client.socket.end for client in (first, second, third, again)] == [None, None, "aborted", None]


def test_the_address_with_the_most_connections_loses_one_in_whichever_zone() -> None:
    house = House(LIMITS._replace(connections=6))
    field = [house.client(f"192.168.1.{number}") for number in (50, 51, 52, 53)]
    control = [house.client("192.168.2.10"), house.client("192.168.2.10")]
    house.loop.now += 1
    house.client("192.168.1.54")
    assert [client.socket.end for client in field] == [None] * 4
    assert sorted(str(client.socket.end) for client in control) == ["None", "aborted"]


def test_a_new_address_evicts_the_connection_that_was_idle_for_longest() -> None:
    house = House(LIMITS._replace(connections=3))
    opta, first = house.client("192.168.2.10"), house.client("192.168.1.50")
    house.loop.now += 1
    second, third = house.client("192.168.1.51"), house.client("192.168.1.52")
    assert [client.socket.end for client in (opta, first, second, third)] == [None, "aborted", None, None]


class Listening:
    """Stands in for the listening socket of a process that has no descriptor left, until it has."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def fileno(self) -> int:
        return 3

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *_: object) -> None:
        """It has no options."""

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        raise OSError(self.errors.pop(0), "no room") if self.errors else BlockingIOError


class WatchingLoop(Loop):
    def __init__(self) -> None:
        super().__init__()
        self.watched: set[int] = set()

    def watch(self, *watched: object) -> None:
        self.watched.add(cast(int, watched[0]))

    def unwatch(self, *forgotten: object) -> None:
        self.watched.discard(cast(int, forgotten[0]))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_room_for_a_client_the_server_pauses_and_listens_again(code: int) -> None:
    loop, notices = WatchingLoop(), list[str]()
    server = Server(cast(EventLoop, loop), lambda *_: None, LIMITS, notices.append)
    server.start(cast(socket.socket, Listening(code)))
    assert loop.watched == {3}
    server._accept(READABLE)
    assert loop.watched == set()
    assert len(notices) == 1
    [timer] = [timer for due, timer in loop.timers if due == loop.now + 1.0 and timer.action != server.sweep]
    assert timer.action is not None
    timer.action()
    assert loop.watched == {3}


def test_every_connection_that_is_accepted_sends_at_once_and_notices_a_dead_client() -> None:
    house = House()
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        house.server.start(listening)
        with socket.create_connection(listening.getsockname()):
            house.server._accept(READABLE)
            accepted = [connection._socket for connection in house.server.connections]
            options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            assert [[each.getsockopt(*option) for option in options] for each in accepted] == [[1, 1]]
        for each in house.server.connections:
            each.abort()
