"""One connection: its requests, their replies, and its end."""

from collections.abc import Iterator

import pytest

from smart_meter.net.connection import SEGMENT, Connection
from smart_meter.net.event_loop import GONE, READABLE, WRITABLE
from tests.unit.net.house import WRITTEN, Client, House, Recorder
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write


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


def test_a_connection_takes_little_memory() -> None:
    assert not hasattr(House().client("192.168.1.50").connection, "__dict__")
    assert "__dict__" not in Connection.__slots__
