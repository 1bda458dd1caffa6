import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.concentrator.reply_cache import MAX_REPLIES, ReplyCache
from smart_meter.config import MeterConfig
from smart_meter.meters.meter import Meter
from smart_meter.modbus.functions import FUNCTIONS
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write


@pytest.fixture
def meter() -> Meter:
    return Meter(MeterConfig("pv", 1, PV_MAP))


def test_a_reply_is_made_again_only_after_a_register_has_changed(meter: Meter) -> None:
    cache = ReplyCache()
    cache.add(meter, read(0, 8), answer(1, (0,) * 8))
    assert cache.cached_replies(read(0, 8, transaction=7)) == answer(1, (0,) * 8, transaction=7)
    meter.view = b"\0\7" + meter.view[2:]
    assert cache.cached_replies(read(0, 8)) == answer(1, (0,) * 8)
    meter.store(write(0)[13:], 1.0)
    assert cache.cached_replies(read(0, 8)) == answer(1, SAMPLE_REGISTERS)


def test_one_read_sent_several_times_is_answered_as_often(meter: Meter) -> None:
    cache = ReplyCache()
    cache.add(meter, read(0, 8), answer(1, (0,) * 8))
    segment = b"".join(read(0, 8, transaction=number) for number in (7, 7, 0, 65535))
    replies = [answer(1, (0,) * 8, transaction=number) for number in (7, 7, 0, 65535)]
    assert cache.cached_replies(segment) == b"".join(replies)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=39), st.integers(0, 467), st.binary(max_size=13))
def test_a_segment_that_is_damaged_anywhere_is_never_taken_for_repeated_reads(
    transactions: list[int], place: int, inserted: bytes
) -> None:
    meter = Meter(MeterConfig("pv", 1, PV_MAP))
    cache = ReplyCache()
    cache.add(meter, read(0, 8), answer(1, (0,) * 8))
    segment = b"".join(read(0, 8, transaction=number) for number in transactions)
    damaged = segment[:place] + inserted + segment[place + len(inserted) :]
    replies = cache.cached_replies(damaged)
    requests = [damaged[start : start + 12] for start in range(0, len(damaged), 12)]
    if replies is None:
        assert damaged != segment
    else:
        assert {request[2:] for request in requests} == {segment[2:12]}
        numbers = [int.from_bytes(request[:2], "big") for request in requests]
        assert replies == b"".join(answer(1, (0,) * 8, transaction=number) for number in numbers)


def test_asking_changes_nothing_that_could_be_counted(meter: Meter) -> None:
    cache = ReplyCache()
    cache.add(meter, read(0, 8), answer(1, (0,) * 8))
    before = (meter.sample, meter.version, meter.samples, meter.state)
    for segment in (read(0, 8), read(0, 7), write(0), b"", read(0, 8) * 2, b"\0" * 24):
        cache.cached_replies(segment)
    assert (meter.sample, meter.version, meter.samples, meter.state) == before
    assert len(cache) == 1


@pytest.mark.parametrize("request_", [write(0), adu(1, wire("04 0000 0001")), adu(1, wire("08 0000 a537"))])
def test_only_reads_of_holding_registers_are_cached(meter: Meter, request_: bytes) -> None:
    cache = ReplyCache()
    cache.add(meter, request_, request_)
    assert (len(cache), cache.cached_replies(request_)) == (0, None)


def test_the_cache_is_bounded() -> None:
    wide = Meter(MeterConfig("wide", 1, RegisterMap(tuple(Measurement(f"m{n}", n) for n in range(100)))))
    cache = ReplyCache()
    for address in range(100):
        for quantity in range(1, 100 - address):
            request = read(address, quantity)
            cache.add(wide, request, FUNCTIONS[3].execute(wide, request, 0.0)[0])
            assert 1 <= len(cache) <= MAX_REPLIES
            assert cache.cached_replies(request) == answer(1, (0,) * quantity)


def test_a_cleared_cache_is_empty(meter: Meter) -> None:
    cache = ReplyCache()
    cache.add(meter, read(0, 8), answer(1, (0,) * 8))
    cache.clear()
    assert (len(cache), cache.cached_replies(read(0, 8))) == (0, None)
