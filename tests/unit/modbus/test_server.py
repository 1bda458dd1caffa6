"""One connection, with a transport that keeps what is written to it."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.concentrator import Concentrator
from smart_meter.config import Config
from smart_meter.modbus.server import SLICE, Connection, Server
from tests.unit.modbus.test_adu import bad_headers, cut, frames
from tests.unit.modbus.test_oracle import requests as pdus
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write


class Socket:
    def __init__(self) -> None:
        self.options: set[tuple[int, int, int]] = set()

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.add((level, option, value))


class Transport(asyncio.Transport):
    """Stands in for the loop's transport."""

    def __init__(self, peer: str | None) -> None:
        self.socket = Socket()
        super().__init__({"peername": (peer, 40000) if peer else None, "socket": self.socket})
        self.writes: list[bytes] = []
        self.end: str | None = None
        self.reading = True
        self.on_write: Callable[[], None] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        if self.on_write:
            self.on_write()

    def write_eof(self) -> None:
        self.end = self.end or "eof"

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def is_closing(self) -> bool:
        return self.end in ("closed", "aborted")

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Client:
    """A client's side of one connection."""

    def __init__(self, peer: str | None, concentrator: Concentrator | None = None) -> None:
        self.concentrator = concentrator or Concentrator(Config(), lambda _: None, lambda: 0.0, lambda: 0.0)
        self.later: deque[Callable[[], None]] = deque()
        self.server = Server(self.concentrator.admit, self.later.append)
        self.transport = Transport(peer)
        self.connection = Connection(self.server)
        self.connection.connection_made(self.transport)

    def send(self, *segments: bytes) -> bytes:
        before = len(self.transport.writes)
        for segment in segments:
            if not self.transport.is_closing():
                self.connection.data_received(segment)
                self.go_on()
        return b"".join(self.transport.writes[before:])

    def go_on(self) -> None:
        """Let the loop turn until nothing is left to do."""
        while self.later:
            self.later.popleft()()


@pytest.fixture
def field() -> Iterator[Client]:
    client = Client("192.168.1.50")
    yield client
    client.connection.connection_lost(None)
    assert client.concentrator.statistics.open_connections == 0


def test_a_segment_with_three_requests_gets_three_answers_in_one_write(field: Client) -> None:
    reply = field.send(write(0) + read(0, 8) + read(2, 1))
    assert reply == wire("0001 0000 0006 01 10 0000 0008") + answer(1, SAMPLE_REGISTERS) + answer(1, (485,))
    assert len(field.transport.writes) == 1


def test_half_a_request_gets_no_answer_until_the_other_half_comes(field: Client) -> None:
    assert field.send(read(0, 1)[:7]) == b""
    assert field.transport.writes == []
    assert field.send(read(0, 1)[7:]) == answer(1, (0,))


def test_small_replies_are_sent_at_once_and_dead_clients_are_noticed(field: Client) -> None:
    assert field.transport.socket.options == {
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
    }


def test_a_bad_frame_closes_the_connection_behind_the_answers_before_it(field: Client) -> None:
    assert field.send(read(0, 1) + wire("0001 0001 0006 01 03 0000 0008") + read(0, 1)) == answer(1, (0,))
    assert field.transport.end == "closed"
    assert field.concentrator.statistics.bad_frames == 1
    field.connection.data_received(read(0, 1))
    assert len(field.transport.writes) == 1


def test_a_stranger_is_closed_at_once_and_counted() -> None:
    stranger = Client("10.0.0.5")
    assert stranger.transport.end == "aborted"
    stranger.connection.data_received(read(0, 1))
    stranger.connection.connection_lost(None)
    assert stranger.transport.writes == []
    statistics = stranger.concentrator.statistics
    assert (statistics.strangers, statistics.connections, statistics.open_connections) == (1, 0, 0)


def test_a_client_that_is_gone_before_it_is_accepted_is_closed() -> None:
    assert Client(None).transport.end == "aborted"


def test_a_client_that_does_not_read_is_not_read_from(field: Client) -> None:
    field.connection.pause_writing()
    assert not field.transport.reading
    field.connection.resume_writing()
    assert field.transport.reading


MANY = [read(0, 1, transaction=number) for number in range(3 * SLICE + 1)]
MANY_ANSWERS = [answer(1, (0,), transaction=number) for number in range(3 * SLICE + 1)]


def test_a_client_with_many_requests_lets_others_have_their_turn(field: Client) -> None:
    other = Client("192.168.2.10", field.concentrator)
    field.connection.data_received(b"".join(MANY))
    read_from = []
    for turn in range(4):
        assert len(field.transport.writes) == turn + 1
        assert field.transport.writes[turn] == b"".join(MANY_ANSWERS[turn * SLICE : (turn + 1) * SLICE])
        assert other.send(read(0, 1)) == answer(1, (0,))
        read_from.append(field.transport.reading)
        if field.later:
            field.later.popleft()()
    other.connection.connection_lost(None)
    assert read_from == [False, False, False, True]


def test_what_comes_while_others_have_their_turn_is_answered_behind(field: Client) -> None:
    field.connection.data_received(b"".join(MANY[: SLICE + 1]))
    field.connection.data_received(b"".join(MANY[SLICE + 1 : SLICE + 3]))
    field.connection.data_received(MANY[SLICE + 3])
    field.go_on()
    assert b"".join(field.transport.writes) == b"".join(MANY_ANSWERS[: SLICE + 4])


def test_a_client_that_turns_deaf_gets_the_rest_when_it_reads_again(field: Client) -> None:
    field.connection.data_received(b"".join(MANY))
    field.connection.pause_writing()
    field.go_on()
    assert len(field.transport.writes) == 1
    field.connection.resume_writing()
    assert not field.transport.reading
    field.go_on()
    assert b"".join(field.transport.writes) == b"".join(MANY_ANSWERS)
    assert field.transport.reading


def test_a_client_that_turns_deaf_with_its_last_answer_is_not_read_from(field: Client) -> None:
    field.transport.on_write = field.connection.pause_writing
    field.send(b"".join(MANY[: SLICE + 1]))
    field.connection.resume_writing()
    field.go_on()
    assert b"".join(field.transport.writes) == b"".join(MANY_ANSWERS[: SLICE + 1])
    assert not field.transport.reading
    field.connection.resume_writing()
    assert field.transport.reading


def test_a_bad_frame_behind_many_requests_waits_for_their_answers(field: Client) -> None:
    field.connection.data_received(b"".join(MANY) + wire("0001 0001 0006"))
    assert field.transport.end != "closed"
    field.go_on()
    assert b"".join(field.transport.writes) == b"".join(MANY_ANSWERS)
    assert field.transport.end == "closed"
    assert field.concentrator.statistics.bad_frames == 1


def test_at_the_end_many_requests_are_all_answered(field: Client) -> None:
    field.connection.data_received(b"".join(MANY))
    field.connection.finish(at_once=False)
    assert field.transport.end != "eof"
    field.go_on()
    assert b"".join(field.transport.writes) == b"".join(MANY_ANSWERS)
    assert field.transport.end == "eof"


def test_the_requests_of_a_client_that_is_gone_are_forgotten(field: Client) -> None:
    field.connection.data_received(b"".join(MANY))
    field.connection.connection_lost(None)
    field.go_on()
    assert len(field.transport.writes) == 1
    assert field.concentrator.statistics.served == SLICE


def test_at_the_end_nothing_more_is_answered(field: Client) -> None:
    field.connection.finish(at_once=False)
    assert field.transport.end == "eof"
    assert field.send(read(0, 1)) == b""


def test_at_the_end_a_request_that_has_begun_is_still_answered(field: Client) -> None:
    field.send(read(0, 1)[:9])
    field.connection.finish(at_once=False)
    assert field.transport.end is None
    assert field.send(read(0, 1)[9:]) == answer(1, (0,))
    assert field.transport.end == "eof"


def test_at_the_end_a_request_that_never_comes_whole_is_not_waited_for_for_ever(field: Client) -> None:
    field.send(read(0, 1)[:9])
    field.connection.finish(at_once=False)
    field.connection.finish(at_once=True)
    assert field.transport.end == "eof"


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
    whole, split = Client("192.168.1.50"), Client("192.168.1.50")
    assert whole.send(stream) == split.send(*segments)
    assert whole.transport.end == split.transport.end
    assert whole.concentrator.statistics == split.concentrator.statistics


@given(st.sampled_from(["192.168.1.50", "192.168.2.10", "127.0.0.1"]), st.lists(st.binary(), max_size=5))
def test_random_bytes_never_raise(peer: str, segments: list[bytes]) -> None:
    client = Client(peer)
    client.send(*segments)
    client.connection.connection_lost(None)
    assert client.concentrator.statistics.open_connections == 0


@given(st.sampled_from(["192.168.1.50", "192.168.2.10"]), st.lists(requests(), min_size=1, max_size=8))
def test_every_request_of_any_kind_is_answered_once(peer: str, asked: list[bytes]) -> None:
    client = Client(peer)
    replies = client.send(b"".join(asked))
    for request in asked:
        size = 6 + int.from_bytes(replies[4:6])
        reply, replies = replies[:size], replies[size:]
        assert reply[:4] == request[:4]
        assert reply[6] == request[6]
        assert reply[7] in (request[7], request[7] | 0x80)
    assert replies == b""
