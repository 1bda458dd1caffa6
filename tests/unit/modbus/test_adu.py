import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.modbus.adu import MAX_ADU, AduReader
from tests.unit.wire import adu, read, wire, write


def test_a_whole_request_comes_out_as_it_came_in() -> None:
    request = wire("0001 0000 0006 01 03 0000 0008")
    assert list(AduReader().feed(request)) == [request]


def test_three_requests_in_one_segment_come_out_as_three() -> None:
    requests = [read(0, 8), write(0), read(3, 1)]
    assert list(AduReader().feed(b"".join(requests))) == requests


def test_a_request_that_comes_byte_by_byte_comes_out_once() -> None:
    reader = AduReader()
    request = write(0)
    for byte in request[:-1]:
        assert list(reader.feed(bytes([byte]))) == []
        assert reader.rest
    assert list(reader.feed(request[-1:])) == [request]
    assert reader.rest == b""


def test_a_segment_may_end_in_the_middle_of_the_second_request() -> None:
    reader = AduReader()
    stream = read(0, 8) + read(1, 2)
    assert list(reader.feed(stream[:15])) == [read(0, 8)]
    assert list(reader.feed(stream[15:])) == [read(1, 2)]


@pytest.mark.parametrize("length", [2, 254])
def test_the_shortest_and_the_longest_length_are_taken(length: int) -> None:
    request = struct.pack(">HHHB", 7, 0, length, 1) + bytes(length - 1)
    assert len(request) <= MAX_ADU
    reader = AduReader()
    assert list(reader.feed(request)) == [request]
    assert reader.error is None


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("0001 0001 0006", "protocol identifier 1, not 0"),
        ("0001 0100 0006", "protocol identifier 256, not 0"),
        ("0001 0000 0000", "length 0, outside 2 to 254"),
        ("0001 0000 0001", "length 1, outside 2 to 254"),
        ("0001 0000 00ff", "length 255, outside 2 to 254"),
        ("0001 0000 0106", "length 262, outside 2 to 254"),
    ],
)
def test_what_is_no_modbus_ends_the_stream(header: str, reason: str) -> None:
    reader = AduReader()
    assert list(reader.feed(wire(header))) == []
    assert reader.error == reason
    assert list(reader.feed(read(0, 8))) == []


def test_requests_before_a_bad_frame_still_come_out() -> None:
    reader = AduReader()
    assert list(reader.feed(read(0, 8) + read(1, 1) + wire("0001 0001 0006"))) == [read(0, 8), read(1, 1)]
    assert reader.error is not None


@st.composite
def cut(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A stream, and the same stream in segments."""
    stream = draw(streams)
    places = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *places, len(stream)]
    return stream, [stream[a:b] for a, b in itertools.pairwise(edges)]


frames = st.builds(adu, st.integers(0, 255), st.binary(min_size=1, max_size=253), st.integers(0, 0xFFFF))
bad_headers = st.builds(
    lambda t, p, n: struct.pack(">HHH", t, p, n),
    st.integers(0, 0xFFFF),
    st.integers(1, 0xFFFF),
    st.integers(0, 0xFFFF),
)


@given(st.lists(frames, max_size=6).flatmap(lambda fs: st.tuples(st.just(fs), cut(st.just(b"".join(fs))))))
def test_any_split_gives_the_same_requests_in_the_same_order(
    case: tuple[list[bytes], tuple[bytes, list[bytes]]],
) -> None:
    requests, (_, segments) = case
    reader = AduReader()
    assert [request for segment in segments for request in reader.feed(segment)] == requests
    assert reader.rest == b""


@given(cut(st.lists(frames | bad_headers | st.binary(max_size=20), max_size=6).map(b"".join)))
def test_any_split_of_any_bytes_gives_the_same_requests_and_the_same_end(
    case: tuple[bytes, list[bytes]],
) -> None:
    stream, segments = case
    whole, split = AduReader(), AduReader()
    expected = list(whole.feed(stream))
    assert [request for segment in segments for request in split.feed(segment)] == expected
    assert (split.error, split.rest) == (whole.error, whole.rest)


def test_a_stream_as_long_as_equal_requests_but_of_others_is_cut_by_each_ones_length() -> None:
    first, second = read(0, 8), adu(1, b"\x08" + bytes(16))
    assert len(second) == 2 * len(first)
    assert list(AduReader().feed(first + second)) == [first, second]
