"""What a device tells of itself, in as many replies as it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.modbus.identification import MAX_OBJECT, Access, Identification
from tests.unit.wire import wire

SMALL = Identification({2: "1.0", 0: "V", 1: "P", 3: "", 4: "N", 0x81: "m", 0x80: "f"})
HEAD = 6


def objects(told: bytes) -> dict[int, bytes]:
    """The objects of one reply, whose header announces how many there are."""
    found = {}
    rest = told[HEAD:]
    while rest:
        found[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    assert len(found) == told[5]
    return found


@pytest.mark.parametrize(
    ("access", "numbers"),
    [
        (Access.BASIC, [0, 1, 2]),
        (Access.REGULAR, [0, 1, 2, 4]),
        (Access.EXTENDED, [0, 1, 2, 4, 0x80, 0x81]),
    ],
)
def test_each_category_holds_those_before_it_and_nothing_that_is_empty(
    access: Access, numbers: list[int]
) -> None:
    assert list(objects(SMALL.stream(access, 0))) == numbers


@pytest.mark.parametrize(
    ("access", "unknown"), [(Access.BASIC, 4), (Access.REGULAR, 0x80), (Access.EXTENDED, 3)]
)
def test_an_object_that_is_not_in_the_category_starts_the_stream_anew(access: Access, unknown: int) -> None:
    assert SMALL.stream(access, unknown) == SMALL.stream(access, 0)


def test_a_stream_can_begin_in_the_middle() -> None:
    assert list(objects(SMALL.stream(Access.EXTENDED, 2))) == [2, 4, 0x80, 0x81]


def test_one_object_comes_alone_and_one_that_is_not_there_not_at_all() -> None:
    assert SMALL.one(4) == wire("0e 04 83 00 00 01 04 01 4e")
    assert SMALL.one(3) is None
    assert SMALL.one(0xFF) is None


def test_basic_objects_are_there_even_where_they_are_empty() -> None:
    nameless = Identification({0: "", 1: "", 2: ""})
    assert nameless.stream(Access.BASIC, 0) == wire("0e 01 83 00 00 03 00 00 01 00 02 00")
    assert nameless.one(0) == wire("0e 04 83 00 00 01 00 00")


def test_an_object_as_long_as_a_reply_can_hold_comes_alone() -> None:
    long = Identification({0: "V" * MAX_OBJECT, 1: "P", 2: "1"})
    told = long.stream(Access.BASIC, 0)
    assert len(told) == 252
    assert told[3:6] == bytes((0xFF, 1, 1))
    assert list(objects(long.stream(Access.BASIC, 1))) == [1, 2]


def test_an_object_too_long_for_a_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="object 0x00 takes 245 bytes, over 244"):
        Identification({0: "V" * (MAX_OBJECT + 1)})


def test_letters_that_ascii_does_not_have_become_question_marks() -> None:
    assert objects(Identification({0: "Zähler", 1: "", 2: ""}).stream(Access.BASIC, 0))[0] == b"Z?hler"


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_OBJECT)


@given(
    st.dictionaries(st.integers(0, 6) | st.integers(0x80, 0xFF), texts, min_size=1, max_size=12),
    st.sampled_from([Access.BASIC, Access.REGULAR, Access.EXTENDED]),
)
def test_a_client_that_goes_on_while_more_follows_gets_every_object_once(
    written: dict[int, str], access: Access
) -> None:
    written = {0: "V", **written}
    identification = Identification(written)
    got: dict[int, bytes] = {}
    told = identification.stream(access, 0)
    while True:
        assert len(told) <= 252
        page = objects(told)
        assert page
        assert not got.keys() & page.keys()
        got |= page
        if told[3] == 0:
            break
        assert told[3] == 0xFF
        told = identification.stream(access, told[4])
    assert told[3:5] == b"\0\0"
    last = {Access.BASIC: 2, Access.REGULAR: 6, Access.EXTENDED: 0xFF}[access]
    assert list(got) == sorted(number for number in written if number <= last)
    assert all(value.decode() == written[number] for number, value in got.items())
