"""One connection, with a socket that keeps what is sent to it, and a loop that the test runs."""

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.net.connection import SEGMENT, Connection
from smart_meter.net.event_loop import GONE, NO_MORE, READABLE, WRITABLE, EventLoop, Handler, Timer
from smart_meter.net.server import Server
from smart_meter.net.timeouts import Limits
from tests.unit.modbus.test_adu import bad_headers, cut, frames
from tests.unit.modbus.test_oracle import requests as pdus
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write

WRITTEN = wire("0001 0000 0006 01 10 0000 0008")


class Socket:
    """Stands in for a client's socket: `inbox` is what it has sent, `outbox` what it was sent."""

    numbers = iter(range(10, 1_000_000_000))

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.inbox = b""
        self.outbox: list[bytes] = []
        self.room = 1 << 30
        self.at_end = False
        self.broken = False
        self.reset = False
        self.ended = ""

    @property
    def end(self) -> str | None:
        return self.ended or None

    def fileno(self) -> int:
        return -1 if self.ended in ("closed", "aborted") else self.number

    def recv(self, size: int) -> bytes:
        if self.fileno() < 0 or self.broken:
            raise OSError(errno.ECONNRESET, "gone")
        data, self.inbox = self.inbox[:size], self.inbox[size:]
        if not data and not self.at_end:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        if self.fileno() < 0:
            raise OSError(errno.EBADF, "closed")
        if self.broken or self.ended:
            raise OSError(errno.EPIPE, "gone")
        if self.room == 0 and data:
            raise BlockingIOError
        sent = data[: self.room]
        self.room -= len(sent)
        self.outbox.append(bytes(sent))
        return len(sent)

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def setsockopt(self, _: int, option: int, __: bytes) -> None:
        self.reset = self.reset or option == socket.SO_LINGER

    def shutdown(self, _: int) -> None:
        self.ended = self.ended or "eof"

    def close(self) -> None:
        self.ended = "aborted" if self.reset else "closed"


class Loop:
    """Stands in for the event loop."""

    def __init__(self) -> None:
        self.now = 100.0
        self.turns: deque[Handler] = deque()
        self.timers: list[tuple[float, Timer]] = []

    def watch(self, *_: object) -> None:
        """Nothing becomes ready by itself."""

    def unwatch(self, *_: object) -> None:
        """As above."""

    def call_again(self, handler: Handler) -> None:
        self.turns.append(handler)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        self.timers.append((self.now + seconds, timer))
        return timer

    every = after

    def pass_time(self) -> None:
        """Let every timer come that was not cancelled, and those that they set, each at its time."""
        while self.timers:
            due, timer = min(self.timers, key=lambda entry: entry[0])
            self.timers.remove((due, timer))
            self.now = max(self.now, due)
            if timer.action is not None:
                timer.action()


class House:
    """A server, the concentrator behind it, and its clients."""

    def __init__(self, limits: Limits = Limits(), config: Config = Config()) -> None:  # noqa: B008 - frozen
        self.journal: list[str] = []
        self.sink: Recorder
        self.loop = Loop()
        self.concentrator = Concentrator(config, self.journal.append, lambda: self.loop.now, lambda: 0.0)
        self.server = Server(cast(EventLoop, self.loop), self.concentrator.admit, limits)

    def client(self, peer: str, local: str = "") -> "Client":
        own = local or {"192.168.1": "192.168.1.100", "192.168.2": "192.168.2.100"}.get(peer[:9], peer)
        return Client(self, peer, own)

    def turn(self) -> None:
        """Let the loop turn once."""
        for _ in range(len(self.loop.turns)):
            self.loop.turns.popleft()(0)

    def go_on(self) -> None:
        """Let the loop turn until nothing is left to do."""
        while self.loop.turns:
            self.turn()


class Client:
    """A client's side of one connection."""

    def __init__(self, house: House, peer: str, local: str) -> None:
        self.house = house
        self.concentrator = house.concentrator
        self.socket = Socket()
        session = house.concentrator.admit(peer, local)
        assert session is not None
        before = set(house.server.connections)
        house.server.add(cast(socket.socket, self.socket), peer, session)
        [self.connection] = set(house.server.connections) - before

    def bring(self, data: bytes, events: int = READABLE) -> None:
        """Let data arrive, and the loop report it."""
        self.socket.inbox += data
        self.connection.ready(events)

    def send(self, *segments: bytes) -> bytes:
        """Return what comes back."""
        before = len(self.socket.outbox)
        for segment in segments:
            if self.socket.end is None:
                self.bring(segment)
                self.house.go_on()
        return b"".join(self.socket.outbox[before:])

    @property
    def received(self) -> bytes:
        return b"".join(self.socket.outbox)

    def leave(self) -> None:
        self.socket.at_end = True
        self.connection.ready(READABLE | NO_MORE & ~GONE)
        self.house.go_on()


@pytest.fixture
def field() -> Iterator[Client]:
    client = House().client("192.168.1.50")
    yield client
    client.leave()
    assert client.concentrator.statistics.open_connections == 0
    assert client.house.server.connections == []


def test_a_segment_with_three_requests_gets_three_answers_in_one_write(field: Client) -> None:
    reply = field.send(write(0) + read(0, 8) + read(2, 1))
    assert reply == WRITTEN + answer(1, SAMPLE_REGISTERS) + answer(1, (485,))
    assert len(field.socket.outbox) == 1


def test_half_a_request_gets_no_answer_until_the_other_half_comes(field: Client) -> None:
    assert field.send(read(0, 1)[:7]) == b""
    assert field.socket.outbox == []
    assert field.send(read(0, 1)[7:]) == answer(1, (0,))


def test_a_bad_frame_ends_the_connection_behind_the_answers_before_it(field: Client) -> None:
    assert field.send(read(0, 1) + wire("0001 0001 0006 01 03 0000 0008") + read(0, 1)) == answer(1, (0,))
    assert field.socket.end == "eof"
    assert field.concentrator.statistics.bad_frames == 1
    field.bring(read(0, 1))
    assert len(field.socket.outbox) == 1


def test_a_client_that_sends_and_leaves_gets_all_its_answers(field: Client) -> None:
    field.socket.inbox = b"".join(MANY)
    field.leave()
    assert field.received == b"".join(MANY_ANSWERS)
    assert field.socket.end == "closed"


def test_a_client_that_was_reset_is_forgotten(field: Client) -> None:
    field.socket.broken = True
    field.connection.ready(READABLE | GONE)
    assert field.socket.end == "closed"


PER_TURN = SEGMENT // 12
MANY = [read(0, 1, transaction=number) for number in range(3 * PER_TURN + 1)]
MANY_ANSWERS = [answer(1, (0,), transaction=number) for number in range(3 * PER_TURN + 1)]


def test_a_client_with_many_requests_lets_others_have_their_turn(field: Client) -> None:
    other = field.house.client("192.168.2.10")
    field.bring(b"".join(MANY))
    for turn in range(1, 4):
        assert field.received == b"".join(MANY_ANSWERS[: turn * SEGMENT // 12])
        other.bring(read(0, 1))
        assert other.received == answer(1, (0,)) * turn
        field.house.turn()
    field.house.go_on()
    assert field.received == b"".join(MANY_ANSWERS)
    other.leave()


def test_a_client_that_does_not_read_is_not_read_from_and_gets_the_rest_later(field: Client) -> None:
    field.socket.room = 20
    field.bring(b"".join(MANY))
    field.house.go_on()
    assert len(field.socket.inbox) > 0
    assert field.received == b"".join(MANY_ANSWERS)[:20]
    field.connection.ready(READABLE)
    assert len(field.received) == 20
    field.socket.room = 7
    field.connection.ready(WRITABLE)
    assert len(field.received) == 27
    field.socket.room = 1 << 30
    field.connection.ready(WRITABLE)
    field.house.go_on()
    field.bring(b"")
    field.house.go_on()
    assert field.received == b"".join(MANY_ANSWERS)


def test_a_bad_frame_behind_many_requests_waits_for_their_answers(field: Client) -> None:
    field.socket.room = 20
    field.send(b"".join(MANY[:3]) + wire("0001 0001 0006"))
    assert field.socket.ended == ""
    field.socket.room = 1 << 30
    field.connection.ready(WRITABLE)
    assert field.received == b"".join(MANY_ANSWERS[:3])
    assert field.socket.end == "eof"
    assert field.concentrator.statistics.bad_frames == 1


def test_at_the_end_nothing_more_is_answered(field: Client) -> None:
    field.house.loop.now += 1
    field.send(read(0, 1))
    field.connection.finish(at_once=False)
    assert field.socket.end == "eof"
    assert field.send(read(0, 1)) == b""
    field.bring(read(0, 1))
    assert field.received == answer(1, (0,))


def test_at_the_end_a_client_that_has_just_come_is_given_time_for_its_first_request(field: Client) -> None:
    field.connection.finish(at_once=False)
    assert field.socket.ended == ""
    field.house.loop.now += 0.1
    field.bring(read(0, 1)[:5])
    assert field.socket.ended == ""
    field.bring(read(0, 1)[5:])
    assert field.received == answer(1, (0,))
    assert field.socket.ended == "eof"


def test_at_the_end_a_request_that_has_begun_is_still_answered(field: Client) -> None:
    field.house.loop.now += 1
    field.send(read(0, 1)[:9])
    field.connection.finish(at_once=False)
    assert field.socket.end is None
    assert field.send(read(0, 1)[9:]) == answer(1, (0,))
    assert field.socket.end == "eof"


def test_at_the_end_a_request_that_never_comes_whole_is_not_waited_for_for_ever(field: Client) -> None:
    field.send(read(0, 1)[:9])
    field.connection.finish(at_once=False)
    field.connection.finish(at_once=True)
    assert field.socket.end == "eof"


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
    house = House(Limits(idle=0.3, frame=0.3))
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


# Limits


def test_over_its_limit_a_clients_own_longest_idle_connection_is_evicted() -> None:
    house = House(Limits(connections=10, connections_per_client=2))
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
    house = House(Limits(connections=3))
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
    house = House(Limits(connections=50))
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
    house = House(Limits(connections=3))
    first, second, third = (house.client(f"192.168.1.{number}") for number in (50, 51, 52))
    house.loop.now += 1
    again = house.client("192.168.1.52")
    assert [client.socket.end for client in (first, second, third, again)] == [None, None, "aborted", None]


def test_the_address_with_the_most_connections_loses_one_in_whichever_zone() -> None:
    house = House(Limits(connections=6))
    field = [house.client(f"192.168.1.{number}") for number in (50, 51, 52, 53)]
    control = [house.client("192.168.2.10"), house.client("192.168.2.10")]
    house.loop.now += 1
    house.client("192.168.1.54")
    assert [client.socket.end for client in field] == [None] * 4
    assert sorted(str(client.socket.end) for client in control) == ["None", "aborted"]


def test_a_new_address_evicts_the_connection_that_was_idle_for_longest() -> None:
    house = House(Limits(connections=3))
    opta, first = house.client("192.168.2.10"), house.client("192.168.1.50")
    house.loop.now += 1
    second, third = house.client("192.168.1.51"), house.client("192.168.1.52")
    assert [client.socket.end for client in (opta, first, second, third)] == [None, "aborted", None, None]


def test_an_idle_connection_is_closed_after_its_time_and_no_earlier() -> None:
    house = House(Limits(idle=300))
    idle, busy = house.client("192.168.1.50"), house.client("192.168.2.10")
    house.loop.now += 299
    busy.send(read(0, 1))
    house.server.sweep()
    assert idle.socket.end is None
    house.loop.now += 2
    house.server.sweep()
    assert [idle.socket.end, busy.socket.end] == ["aborted", None]
    assert house.journal[-1] == "[CLOSED] ESP32 (192.168.1.50): it was idle for 300 s"


def test_with_no_idle_timeout_an_idle_connection_stays() -> None:
    house = House(Limits(idle=0))
    idle = house.client("192.168.1.50")
    house.loop.now += 1e6
    house.server.sweep()
    assert idle.socket.end is None


def test_a_request_has_to_come_whole_in_its_time_however_slowly_its_bytes_drip() -> None:
    house = House(Limits(frame=10))
    slow = house.client("192.168.1.50")
    for byte in read(0, 8)[:11]:
        slow.send(bytes([byte]))
        house.server.sweep()
        house.loop.now += 1
    assert slow.socket.ended == ""
    house.server.sweep()
    assert slow.socket.end == "aborted"
    assert "the rest of a request did not come within 10 s" in house.journal[-1]


def test_a_stream_that_is_always_cut_in_mid_request_is_no_slow_one() -> None:
    house = House(Limits(frame=10))
    client = house.client("192.168.1.50")
    stream = read(0, 8) * 40
    for start in range(0, len(stream), 13):
        client.send(stream[start : start + 13])
        house.loop.now += 1
        house.server.sweep()
    assert client.socket.end is None


def test_a_client_that_takes_no_replies_is_closed_after_its_time() -> None:
    house = House(Limits(frame=10))
    deaf = house.client("192.168.1.50")
    deaf.socket.room = 5
    deaf.send(read(0, 8))
    house.loop.now += 11
    house.server.sweep()
    assert deaf.socket.end == "aborted"
    assert "it did not take its replies within 10 s" in house.journal[-1]


def test_after_a_bad_frame_a_client_that_keeps_talking_is_closed_all_the_same() -> None:
    house = House()
    client = house.client("192.168.1.50")
    client.send(wire("0001 0001 0006 01 03 0000 0008"))
    for _ in range(10):
        house.loop.now += 0.1
        client.bring(read(0, 8))
        house.server.sweep()
    assert client.socket.end == "aborted"
    assert house.server.connections == []
    assert house.concentrator.statistics.open_connections == 0


# Replies that wait for the disk


class Recorder:
    """Stores a sample when the test wants it to."""

    backlog = 0

    def __init__(self) -> None:
        self.tickets = 0
        self.stored: int = 0
        self.given_up: set[int] = set()

    def record(self, *_: object) -> int:
        self.tickets += 1
        return self.tickets

    def stored_up_to(self, ticket: int) -> bool | None:
        if ticket in self.given_up:
            return False
        return True if ticket <= self.stored else None


@pytest.fixture
def late() -> Client:
    """A client whose writes are acknowledged once they are stored."""
    house = House()
    house.sink = Recorder()
    house.concentrator.use_sink(house.sink, durable=True)
    return house.client("192.168.1.50")


def recorder_of(client: Client) -> Recorder:
    return client.house.sink


def test_a_write_is_acknowledged_once_its_sample_is_stored(late: Client) -> None:
    assert late.send(write(0)) == b""
    late.house.server.release()
    assert late.received == b""
    recorder_of(late).stored = 1
    late.house.server.release()
    assert late.received == WRITTEN
    assert late.house.server.holding == []


def test_what_waits_behind_such_a_write_is_answered_behind_it(late: Client) -> None:
    opta = late.house.client("192.168.2.10")
    late.bring(read(0, 1) + write(0) + read(0, 8))
    late.bring(read(1, 1))
    assert late.received == b""
    assert opta.send(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    recorder_of(late).stored = 1
    late.house.server.release()
    late.house.go_on()
    assert late.received == answer(1, (0,)) + WRITTEN + answer(1, SAMPLE_REGISTERS) + answer(1, (260,))


def test_a_write_that_can_not_be_stored_gets_exception_04_and_the_reads_beside_it_their_answers(
    late: Client,
) -> None:
    late.bring(write(0) + read(0, 1) + write(0))
    recorder_of(late).given_up = {1, 2}
    late.house.server.release()
    refused = wire("0001 0000 0003 01 90 04")
    assert late.received == refused + answer(1, (250,)) + refused


def test_exception_04_is_the_one_behind_which_the_values_are_in_the_registers(late: Client) -> None:
    late.bring(adu(1, wire("17 0000 0001 0000 0008 10") + write(0)[13:]))
    recorder_of(late).given_up = {1}
    late.house.server.release()
    assert late.received == wire("0001 0000 0003 01 97 04")
    assert late.send(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    assert late.concentrator.statistics.received == 1


def test_a_client_that_is_gone_before_its_sample_is_stored_is_forgotten(late: Client) -> None:
    late.send(write(0))
    late.connection.ready(READABLE | GONE)
    recorder_of(late).stored = 1
    late.house.server.release()
    assert late.house.server.holding == []
    assert late.house.server.connections == []


def test_a_part_of_a_sample_waits_for_nothing(late: Client) -> None:
    assert late.send(write(0, (1, 2))) == wire("0001 0000 0006 01 10 0000 0002")


def test_while_replies_are_held_a_client_is_not_idle() -> None:
    house = House(Limits(idle=10))
    house.sink = Recorder()
    house.concentrator.use_sink(house.sink, durable=True)
    client = house.client("192.168.1.50")
    client.send(write(0))
    house.loop.now += 11
    house.server.sweep()
    assert client.socket.end is None
    house.sink.stored = 1
    house.server.release()
    assert client.received == WRITTEN
    house.server.sweep()
    assert client.socket.end == "aborted"


# Accepting


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
    server = Server(cast(EventLoop, loop), lambda *_: None, Limits(), notices.append)
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


# Any stream


def requests() -> st.SearchStrategy[bytes]:
    """Requests of all kinds, right and wrong, and any other frames."""
    units, transactions = st.sampled_from([1, 0, 255, 9]), st.integers(0, 0xFFFF)
    right = st.builds(
        lambda unit, pdu, transaction: adu(unit, bytes((pdu[0],)) + pdu[1], transaction),
        units,
        pdus(),
        transactions,
    )
    return frames | right


crowds = st.builds(
    lambda request, times: request * times, st.sampled_from([read(0, 8), write(0)]), st.integers(1, 200)
)


@given(cut(st.lists(requests() | bad_headers | crowds, max_size=8).map(b"".join)))
def test_any_split_of_any_stream_gets_the_same_answers_in_the_same_order(
    case: tuple[bytes, list[bytes]],
) -> None:
    stream, segments = case
    whole, split = House().client("192.168.1.50"), House().client("192.168.1.50")
    assert whole.send(stream) == split.send(*segments)
    assert whole.socket.end == split.socket.end
    assert whole.concentrator.statistics == split.concentrator.statistics


@given(
    cut(st.lists(requests() | crowds, max_size=6).map(b"".join)),
    st.lists(st.integers(1, 300), min_size=1, max_size=20),
)
def test_a_client_that_reads_by_fits_and_starts_gets_the_same_answers(
    case: tuple[bytes, list[bytes]], rooms: list[int]
) -> None:
    stream, segments = case
    whole, slow = House().client("192.168.1.50"), House().client("192.168.1.50")
    expected = whole.send(stream)
    slow.socket.room = 0
    for segment in segments:
        slow.bring(segment)
        slow.house.go_on()
    for room in (*rooms, 1 << 30):
        slow.socket.room += room
        slow.connection.ready(READABLE | WRITABLE)
        slow.house.go_on()
    assert slow.received == expected


@given(st.sampled_from(["192.168.1.50", "192.168.2.10", "127.0.0.1"]), st.lists(st.binary(), max_size=5))
def test_random_bytes_never_raise(peer: str, segments: list[bytes]) -> None:
    client = House().client(peer)
    client.send(*segments)
    client.leave()
    assert client.concentrator.statistics.open_connections == 0


@given(st.sampled_from(["192.168.1.50", "192.168.2.10"]), st.lists(requests(), min_size=1, max_size=8))
def test_every_request_of_any_kind_is_answered_once(peer: str, asked: list[bytes]) -> None:
    replies = House().client(peer).send(b"".join(asked))
    for request in asked:
        size = 6 + int.from_bytes(replies[4:6])
        reply, replies = replies[:size], replies[size:]
        assert reply[:4] == request[:4]
        assert reply[6] == request[6]
        assert reply[7] in (request[7], request[7] | 0x80)
    assert replies == b""


def test_a_connection_takes_little_memory() -> None:
    assert not hasattr(House().client("192.168.1.50").connection, "__dict__")
    assert "__dict__" not in Connection.__slots__
