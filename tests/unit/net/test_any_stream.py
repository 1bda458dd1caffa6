"""Any stream of requests, however it is cut, gets the same replies."""

from hypothesis import given
from hypothesis import strategies as st

from smart_meter.net.event_loop import READABLE, WRITABLE
from tests.unit.modbus.test_adu import bad_headers, cut, frames
from tests.unit.modbus.test_oracle import requests as pdus
from tests.unit.net.house import House
from tests.unit.wire import adu, read, write


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
