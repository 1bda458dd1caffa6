"""The connection's state machine: every pair of states, and what each input makes of it."""

import itertools

import pytest

from smart_meter.modbus.connection_state import ConnectionState, Held, Receiving, Sending, TransitionError
from tests.unit.wire import answer, read, wire, write

READ, WRITE = read(0, 1), write(0)
REPLY = answer(1, (0,))
ACKNOWLEDGED = wire("0001 0000 0006 01 10 0000 0008")
FAILED = wire("0001 0000 0003 01 90 04")
BAD = wire("0001 0001 0006 01 03 0000 0008")
PAIRS = list(itertools.product(Receiving, Sending))
PAIR_IDS = [f"{receiving.value}, {sending.value}" for receiving, sending in PAIRS]


class Requests:
    """Answers reads at once and holds the replies to writes; counts what it is asked."""

    def __init__(self, *, cached: bool = False) -> None:
        self.cached = cached
        self.asked: list[bytes] = []
        self.carried_out: list[bytes] = []

    def cached_reply(self, segment: bytes) -> bytes | None:
        self.asked.append(segment)
        return REPLY if self.cached and segment == READ else None

    def cached_replies(self, segment: bytes) -> bytes | None:
        count = len(segment) // len(READ)
        return REPLY * count if self.cached and segment == READ * count else None

    def respond(self, request: bytes) -> bytes | Held:
        self.carried_out.append(request)
        return Held(len(self.carried_out), ACKNOWLEDGED, request) if request == WRITE else REPLY


def connection(requests: Requests | None = None) -> ConnectionState:
    made = requests or Requests()
    return ConnectionState(made.cached_reply, made.cached_replies, made.respond)


def in_state(receiving: Receiving, sending: Sending, *, cached: bool = False) -> ConnectionState:
    """Bring a connection into a pair of states as a client would."""
    rest = {Receiving.OPEN: b"", Receiving.MID_FRAME: READ[:5], Receiving.ENDED: BAD}[receiving]
    state = connection(Requests(cached=cached))
    replies = state.receive((WRITE if sending is Sending.HELD else READ) + rest)
    if sending is Sending.BLOCKED:
        state.blocked(replies)
    elif sending is Sending.CLOSING:
        state.close()
    assert (state.receiving, state.sending) == (receiving, sending)
    return state


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_what_arrives_is_answered_thrown_away_or_may_not_be_read(
    receiving: Receiving, sending: Sending
) -> None:
    state = in_state(receiving, sending)
    data = READ[5:] if receiving is Receiving.MID_FRAME else READ
    if sending in (Sending.BLOCKED, Sending.HELD):
        assert state.stalled
        with pytest.raises(TransitionError):
            state.receive(data)
        assert (state.receiving, state.sending) == (receiving, sending)
        return
    assert not state.stalled
    answered = sending is Sending.FLOWING and receiving is not Receiving.ENDED
    assert state.receive(data) == (REPLY if answered else b"")
    assert state.sending is sending
    assert state.receiving is (Receiving.OPEN if answered else receiving)


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_only_what_is_blocked_can_be_unblocked(receiving: Receiving, sending: Sending) -> None:
    state = in_state(receiving, sending)
    if sending is not Sending.BLOCKED:
        with pytest.raises(TransitionError):
            state.unblocked()
        return
    assert state.unblocked() == REPLY
    assert (state.receiving, state.sending) == (receiving, Sending.FLOWING)
    state.blocked(REPLY[3:])
    assert state.unblocked() == REPLY[3:]


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_replies_are_blocked_only_while_they_flow(receiving: Receiving, sending: Sending) -> None:
    state = in_state(receiving, sending)
    if sending is Sending.HELD:
        with pytest.raises(TransitionError):
            state.blocked(b"x")
        return
    state.blocked(b"x")
    assert state.sending is (Sending.CLOSING if sending is Sending.CLOSING else Sending.BLOCKED)


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_held_replies_are_released_once_the_last_sample_is_committed(
    receiving: Receiving, sending: Sending
) -> None:
    state = in_state(receiving, sending)
    held = sending is Sending.HELD
    assert state.tickets == ([1] if held else [])
    assert state.release(0) == b""
    assert state.sending is sending
    assert state.release(1) == (ACKNOWLEDGED if held else b"")
    assert (state.receiving, state.sending) == (receiving, Sending.FLOWING if held else sending)
    assert state.release(1) == b""


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_a_stream_that_is_not_modbus_closes_the_connection_once_all_replies_are_sent(
    receiving: Receiving, sending: Sending
) -> None:
    state = in_state(receiving, sending)
    state.flushed()
    ended = sending is Sending.FLOWING and receiving is Receiving.ENDED
    assert state.sending is (Sending.CLOSING if ended else sending)
    assert (state.error is not None) is (receiving is Receiving.ENDED)


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_finishing_closes_at_once_only_if_nothing_is_left_over(
    receiving: Receiving, sending: Sending
) -> None:
    state = in_state(receiving, sending)
    state.finish(asked=True)
    left_over = receiving is Receiving.MID_FRAME or sending is not Sending.FLOWING
    assert state.sending is (sending if left_over else Sending.CLOSING)
    assert not state.quick
    if sending is Sending.BLOCKED:
        state.unblocked()
    elif sending is Sending.HELD:
        state.release(1)
    if state.sending is Sending.FLOWING and receiving is Receiving.MID_FRAME:
        assert state.receive(READ[5:]) == REPLY
    state.flushed()
    assert state.sending is Sending.CLOSING


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_closing_is_possible_in_every_state_and_final(receiving: Receiving, sending: Sending) -> None:
    state = in_state(receiving, sending)
    state.close()
    state.close()
    assert (state.receiving, state.sending, state.tickets) == (receiving, Sending.CLOSING, [])
    state.finish(asked=False)
    state.flushed()
    assert (state.receive(READ), state.release(9), state.sending) == (b"", b"", Sending.CLOSING)


@pytest.mark.parametrize(("receiving", "sending"), PAIRS, ids=PAIR_IDS)
def test_only_with_nothing_left_over_is_it_quick(receiving: Receiving, sending: Sending) -> None:
    quick = receiving is Receiving.OPEN and sending is Sending.FLOWING
    state = in_state(receiving, sending, cached=True)
    assert state.quick is quick
    assert state.at_once(READ) == (REPLY if quick else None)


def test_a_client_that_has_not_asked_yet_is_given_its_first_request() -> None:
    state = connection()
    state.finish(asked=False)
    before = state.sending
    assert state.receive(READ) == REPLY
    state.flushed()
    assert (before, state.sending) == (Sending.FLOWING, Sending.CLOSING)


def test_a_lost_sample_makes_an_exception_of_its_reply_and_of_no_other() -> None:
    state = connection()
    assert state.receive(WRITE + READ + WRITE) == b""
    assert state.tickets == [1, 3]
    assert state.release(2) == b""
    assert state.release(3, {1}) == FAILED + REPLY + ACKNOWLEDGED


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_the_cache_is_asked_once_a_request(cached: bool, count: int) -> None:
    requests = Requests(cached=cached)
    state = connection(requests)
    assert (state.at_once(READ * count) or state.receive(READ * count)) == REPLY * count
    # The same request several times is looked for as a whole first, which costs one look-up.
    together = cached and count > 1
    assert [asked for asked in requests.asked if asked == READ] == ([] if together else [READ] * count)
    assert requests.carried_out == ([] if cached else [READ] * count)


def test_different_requests_in_one_segment_are_each_looked_for() -> None:
    requests = Requests(cached=True)
    state = connection(requests)
    segment = READ + read(0, 2) + READ
    assert (state.at_once(segment) or state.receive(segment)) == REPLY * 3
    assert (requests.asked[1:], requests.carried_out) == ([READ, read(0, 2), READ], [read(0, 2)])


def test_repeated_reads_after_a_part_of_a_request_are_cut_first() -> None:
    requests = Requests(cached=True)
    state = connection(requests)
    assert state.receive(READ[:5]) == b""
    assert state.receive(READ[5:] + READ * 2) == REPLY * 3
    assert requests.asked == [READ] * 3


def test_a_frame_begins_with_its_own_first_bytes() -> None:
    state = connection()
    began = []
    for data in (READ[:5], READ[5:7], READ[7:] + READ[:3], READ[3:4], READ[4:], READ[:1]):
        state.receive(data)
        began.append(state.frame_began and state.receiving is Receiving.MID_FRAME)
    assert began == [True, False, True, False, False, True]
