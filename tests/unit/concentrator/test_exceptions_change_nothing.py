"""A request that is answered with an exception has written nothing, whatever it was."""

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import Config, JournalConfig, MeterConfig, OnStale, OutOfRange, Publish
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.meters.parts import incomplete
from tests.unit.modbus.test_oracle import requests as pdus
from tests.unit.wire import SAMPLE_REGISTERS, adu, read, sent, write, write_one

LIMITED = RegisterMap((Measurement("P", 0, maximum=300), *PV_MAP.measurements[1:]))
CONFIGS: dict[str, dict[str, Any]] = {
    "held": {},
    "exception": {"on_stale": OnStale.EXCEPTION, "stale_after": 5},
    "exception, complete": {"on_stale": OnStale.EXCEPTION, "stale_after": 5, "publish": Publish.COMPLETE},
    "exception, refused": {
        "on_stale": OnStale.EXCEPTION,
        "stale_after": 5,
        "map": LIMITED,
        "out_of_range": OutOfRange.REFUSE,
    },
    "sentinel": {"on_stale": OnStale.SENTINEL, "stale_after": 5},
    "refused": {"map": LIMITED, "out_of_range": OutOfRange.REFUSE},
}
SECONDS = [1.0, 6.0]


class Trial:
    """A meter whose samples are recorded, and a client that may do everything."""

    def __init__(self, changes: dict[str, Any]) -> None:
        self.now = 100.0
        self.journal: list[str] = []
        self.rows: list[object] = []
        # Every sample and every read has its line.
        config = Config(
            meters=(MeterConfig("pv", 1, PV_MAP)._replace(**changes),),
            journal=JournalConfig(lines_per_second=1000),
        )
        self.concentrator = Concentrator(config, self.journal.append, lambda: self.now, lambda: 0.0)
        self.concentrator.use_sink(self, durable=False)
        session = self.concentrator.admit("192.168.1.50")
        assert session is not None
        self.session: Session = session

    backlog = 0

    def record(self, *row: object) -> int:
        self.rows.append(row)
        return len(self.rows)

    def stored_up_to(self, _: int) -> bool:
        return True

    def do(self, action: bytes | float) -> bytes:
        """Answer a request, or let seconds pass."""
        if isinstance(action, float):
            self.now += action
            self.concentrator.check()
            return b""
        return sent(self.session.respond(action))

    def after(self, *actions: bytes | float) -> "Trial":
        for action in actions:
            self.do(action)
        return self

    def state(self) -> tuple[object, ...]:
        """Return all that a write may change, for readers now or later, in the history or in the journal."""
        [meter] = self.concentrator.meters
        totals = self.concentrator.statistics
        return (
            meter.sample,
            meter.view,
            meter.failure,
            meter.state,
            meter.samples,
            meter.arrived,
            meter.due,
            meter.flags,
            meter.version,
            incomplete(meter),
            meter.partial_writes,
            (totals.received, totals.served),
            list(self.rows),
            [line for line in self.journal if not line.startswith("[REFUSED]")],
        )


def read_write(read_from: int, quantity: int, write_to: int, registers: tuple[int, ...]) -> bytes:
    body = struct.pack(">BHHHHB", 23, read_from, quantity, write_to, len(registers), 2 * len(registers))
    return adu(1, body + struct.pack(f">{len(registers)}H", *registers))


words = st.sampled_from([0, 300, 301, 0xFFFF]) | st.integers(0, 0xFFFF)
few = st.lists(words, min_size=1, max_size=8).map(tuple)
addresses = st.integers(0, 9)
writes = st.one_of(
    st.just(write(0)),
    st.builds(write, addresses, few),
    st.builds(write_one, addresses, words),
    st.builds(lambda a, keep, bits: adu(1, struct.pack(">BHHH", 22, a, keep, bits)), addresses, words, words),
)
both = st.builds(read_write, addresses, st.integers(1, 8), addresses, few)
whole = st.builds(
    read_write, addresses, st.integers(1, 8), st.just(0), st.lists(words, min_size=8, max_size=8).map(tuple)
)
any_request = st.builds(lambda pdu: adu(1, bytes((pdu[0],)) + pdu[1]), pdus())
earlier = st.lists(writes | both | st.sampled_from(SECONDS), max_size=10)
PART = read_write(0, 8, 0, SAMPLE_REGISTERS[:4])
WHOLE = read_write(0, 8, 0, SAMPLE_REGISTERS)


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
@given(before=earlier, request=writes | both | whole | any_request)
@example(before=[], request=PART)
@example(before=[write(0), 6.0], request=PART)
@example(before=[write(0)], request=read_write(0, 8, 0, (301,)))
@settings(max_examples=150)
def test_whatever_is_answered_with_an_exception_has_changed_nothing(
    changes: dict[str, Any], before: list[bytes | float], request: bytes
) -> None:
    trial = Trial(changes).after(*before)
    held = trial.state()
    reply = trial.do(request)
    if reply[7] & 0x80:
        assert trial.state() == held


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
@given(before=earlier, reads=st.tuples(addresses, st.integers(1, 8)), writes=st.tuples(addresses, few))
@example(before=[], reads=(0, 8), writes=(0, SAMPLE_REGISTERS[:4]))
@example(before=[], reads=(0, 8), writes=(0, SAMPLE_REGISTERS))
@example(before=[write(0, SAMPLE_REGISTERS[:4])], reads=(0, 8), writes=(4, (1, 2, 3, 4)))
@settings(max_examples=150)
def test_a_read_with_a_write_is_the_write_and_then_the_read_or_neither(
    changes: dict[str, Any],
    before: list[bytes | float],
    reads: tuple[int, int],
    writes: tuple[int, tuple[int, ...]],
) -> None:
    trial, other = Trial(changes).after(*before), Trial(changes).after(*before)
    held = trial.state()
    reply = trial.do(read_write(*reads, *writes))
    written, answered = other.do(write(*writes)), other.do(read(*reads))
    refused = {part[8] for part in (written, answered) if part[7] & 0x80}
    if refused:
        assert reply[7] == 0x97
        assert reply[8] in refused
        assert trial.state() == held
    else:
        assert reply[8:] == answered[8:]
        assert trial.state() == other.state()


STALE: dict[str, Any] = {"on_stale": OnStale.EXCEPTION, "stale_after": 5}


@pytest.mark.parametrize("before", [[], [write(0), 6.0]], ids=["before the first sample", "stale"])
def test_a_stale_meter_takes_a_read_with_a_write_where_that_makes_it_fresh_and_else_not(
    before: list[bytes | float],
) -> None:
    trial = Trial(STALE).after(*before)
    held = trial.state()
    assert trial.do(PART)[7:] == bytes((0x97, 0x0B))
    assert trial.state() == held
    assert trial.do(WHOLE)[7] == 0x17
    # Its parts may come by other function codes; the last may be a read with a write.
    trial.after(6.0, write(0, SAMPLE_REGISTERS[:4]))
    assert trial.do(read_write(0, 8, 4, SAMPLE_REGISTERS[4:]))[7] == 0x17


def test_a_value_out_of_range_comes_before_what_the_meter_itself_answers() -> None:
    trial = Trial({**STALE, "map": LIMITED, "out_of_range": OutOfRange.REFUSE})
    assert trial.do(read_write(0, 1, 0, (301,)))[7:] == bytes((0x97, 0x03))
    assert trial.concentrator.meters[0].refused == 1
    assert trial.do(PART)[7:] == bytes((0x97, 0x0B))
    assert (trial.concentrator.meters[0].refused, trial.concentrator.statistics.refused) == (2, 2)
