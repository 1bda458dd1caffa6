"""The device's identification, in as many replies as it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.modbus.identification import MAX_OBJECT, Identification, ReadDeviceId
from tests.unit.wire import wire

SMALL = Identification({2: "1.0", 0: "V", 1: "P", 3: "", 4: "N", 0x81: "m", 0x80: "f"})
HEAD = 6


def objects(page: bytes) -> dict[int, bytes]:
    """The objects of one reply, whose header announces how many there are."""
    found = {}
    rest = page[HEAD:]
    while rest:
        found[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    assert len(found) == page[5]
    return found


@pytest.mark.parametrize(
    ("access", "numbers"),
    [
        (ReadDeviceId.BASIC, [0, 1, 2]),
        (ReadDeviceId.REGULAR, [0, 1, 2, 4]),
        (ReadDeviceId.EXTENDED, [0, 1, 2, 4, 0x80, 0x81]),
    ],
)
def test_each_category_holds_those_before_it_and_nothing_that_is_empty(
    access: ReadDeviceId, numbers: list[int]
) -> None:
    assert list(objects(SMALL.stream(access, 0))) == numbers


@pytest.mark.parametrize(
    ("access", "unknown"), [(ReadDeviceId.BASIC, 4), (ReadDeviceId.REGULAR, 0x80), (ReadDeviceId.EXTENDED, 3)]
)
def test_an_object_that_is_not_in_the_category_starts_the_stream_again(
    access: ReadDeviceId, unknown: int
) -> None:
    assert SMALL.stream(access, unknown) == SMALL.stream(access, 0)


def test_a_stream_can_begin_in_the_middle() -> None:
    assert list(objects(SMALL.stream(ReadDeviceId.EXTENDED, 2))) == [2, 4, 0x80, 0x81]


def test_one_object_comes_alone_and_one_that_is_not_there_not_at_all() -> None:
    assert SMALL.one(4) == wire("0e 04 83 00 00 01 04 01 4e")
    assert SMALL.one(3) is None
    assert SMALL.one(0xFF) is None


def test_basic_objects_are_there_even_where_they_are_empty() -> None:
    nameless = Identification({0: "", 1: "", 2: ""})
    assert nameless.stream(ReadDeviceId.BASIC, 0) == wire("0e 01 83 00 00 03 00 00 01 00 02 00")
    assert nameless.one(0) == wire("0e 04 83 00 00 01 00 00")


def test_an_object_as_long_as_a_reply_can_hold_comes_alone() -> None:
    long = Identification({0: "V" * MAX_OBJECT, 1: "P", 2: "1"})
    page = long.stream(ReadDeviceId.BASIC, 0)
    assert len(page) == 252
    assert page[3:6] == bytes((0xFF, 1, 1))
    assert list(objects(long.stream(ReadDeviceId.BASIC, 1))) == [1, 2]


def test_an_object_too_long_for_a_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="object 0x00 takes 245 bytes, over 244"):
        Identification({0: "V" * (MAX_OBJECT + 1)})


def test_letters_that_ascii_does_not_have_become_question_marks() -> None:
    assert objects(Identification({0: "Zähler", 1: "", 2: ""}).stream(ReadDeviceId.BASIC, 0))[0] == b"Z?hler"


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_OBJECT)


@given(
    st.dictionaries(st.integers(0, 6) | st.integers(0x80, 0xFF), texts, min_size=1, max_size=12),
    st.sampled_from([ReadDeviceId.BASIC, ReadDeviceId.REGULAR, ReadDeviceId.EXTENDED]),
)
def test_a_client_that_goes_on_while_more_follows_gets_every_object_once(
    written: dict[int, str], access: ReadDeviceId
) -> None:
    written = {0: "V", **written}
    identification = Identification(written)
    got: dict[int, bytes] = {}
    page = identification.stream(access, 0)
    while True:
        assert len(page) <= 252
        found = objects(page)
        assert found
        assert not got.keys() & found.keys()
        got |= found
        if page[3] == 0:
            break
        assert page[3] == 0xFF
        page = identification.stream(access, page[4])
    assert page[3:5] == b"\0\0"
    last = {ReadDeviceId.BASIC: 2, ReadDeviceId.REGULAR: 6, ReadDeviceId.EXTENDED: 0xFF}[access]
    assert list(got) == sorted(number for number in written if number <= last)
    assert all(value.decode() == written[number] for number, value in got.items())
