"""The frames that the soak generates are as described, since a test is only as good as its input."""

import struct

import pytest
from soak.frames import End, Generator, Volley

from smart_meter.modbus.adu import AduReader

VOLLEYS = [generator.volley() for generator in [Generator(7)] for _ in range(2000)]


def test_the_same_seed_gives_the_same_volleys() -> None:
    again = Generator(7)
    assert [again.volley() for _ in range(50)] == VOLLEYS[:50]
    assert Generator(8).volley() != VOLLEYS[0]


@pytest.mark.parametrize("end", End)
def test_every_kind_of_end_occurs(end: End) -> None:
    assert sum(volley.end is end for volley in VOLLEYS) > 200


def _cut(volley: Volley) -> tuple[list[bytes], AduReader]:
    reader = AduReader()
    return list(reader.feed(volley.data)), reader


def test_exactly_the_frames_with_a_valid_header_require_a_reply() -> None:
    for volley in VOLLEYS:
        adus, _ = _cut(volley)
        assert tuple(adu[:2] + adu[6:8] for adu in adus) == volley.heads


def test_each_volley_ends_as_its_end_states() -> None:
    for volley in VOLLEYS:
        adus, reader = _cut(volley)
        tail = volley.data[sum(map(len, adus)) :]
        assert (volley.frames - len(adus), bool(tail)) in {(0, False), (1, True)}
        assert (reader.error is not None) is (volley.end in (End.NOISE, End.PROTOCOL, End.LENGTH)), volley
        if volley.end is End.TRUNCATED:
            assert len(tail) < 6 or len(tail) < 6 + struct.unpack_from(">H", tail, 4)[0]
