"""A reply from the cache has to be the reply that the request would get if it were carried out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import Config, JournalConfig, MeterConfig, OnStale, OutOfRange, Publish
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.modbus.test_oracle import requests as pdus
from tests.unit.wire import SAMPLE_REGISTERS, adu, read, sent, write, write_one

LIMITED = RegisterMap((Measurement("P", 0, maximum=300), *PV_MAP.measurements[1:]))
CONFIGS = {
    "held": {},
    "exception": {"on_stale": OnStale.EXCEPTION, "stale_after": 5},
    "sentinel": {"on_stale": OnStale.SENTINEL, "stale_after": 5},
    "complete": {"publish": Publish.COMPLETE},
    "refused": {"map": LIMITED, "out_of_range": OutOfRange.REFUSE},
}


class Trial:
    """A concentrator with a clock to set, with or without its reply cache."""

    def __init__(self, *, cache: bool, **changes: Any) -> None:
        self.now = 100.0
        self.journal: list[str] = []
        # The first read has a line in the log, the others may be answered from the cache.
        config = Config(
            meters=(MeterConfig("pv", 1, PV_MAP)._replace(**changes),),
            journal=JournalConfig(lines_per_second=0.1),
        )
        self.concentrator = Concentrator(config, self.journal.append, lambda: self.now, lambda: 0.0)
        session = self.concentrator.admit("192.168.1.50")
        assert session is not None
        self.session: Session = session
        self.cache = cache

    def do(self, action: bytes | float) -> bytes | None:
        """Answer a request, or let seconds pass."""
        if isinstance(action, float):
            self.now += action
            self.concentrator.check()
            return None
        return (self.cache and self.session.cached_reply(action)) or sent(self.session.respond(action))


values = st.lists(st.integers(0, 0xFFFF), min_size=8, max_size=8).map(tuple)
often = st.one_of(
    st.just(read(0, 8)),
    st.just(read(2, 3, transaction=7)),
    st.just(write(0)),
    st.builds(write, st.just(0), values),
    st.builds(write_one, st.integers(0, 7), st.integers(0, 0xFFFF)),
    st.just(write(0, SAMPLE_REGISTERS[:5])),
    # As a whole write, but for its byte count or its length.
    st.just(write(0)[:12] + b"\x0f" + write(0)[13:]),
    st.just(write(0)[:-1]),
)
any_request = st.builds(lambda pdu: adu(1, bytes((pdu[0],)) + pdu[1]), pdus())


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
@given(actions=st.lists(often | any_request | st.sampled_from([1.0, 6.0]), max_size=30))
@settings(max_examples=150)
def test_a_cached_reply_is_the_reply_of_a_request_that_is_carried_out(
    changes: dict[str, Any], actions: list[bytes | float]
) -> None:
    quick, careful = Trial(cache=True, **changes), Trial(cache=False, **changes)
    for action in actions:
        assert quick.do(action) == careful.do(action)
    assert quick.journal == careful.journal
    assert quick.concentrator.statistics == careful.concentrator.statistics
    meters = (quick.concentrator.meters[0], careful.concentrator.meters[0])
    assert len({(m.sample, m.view, m.samples, m.state, m.refused, m.flags) for m in meters}) == 1


def test_a_segment_that_only_resembles_a_cached_request_is_not_one() -> None:
    trial = Trial(cache=True)
    trial.session.respond(read(0, 8))
    assert trial.session.cached_reply(read(0, 8)) is not None
    for segment in (read(0, 8)[:-1], read(0, 8) + b"\0", b"", read(0, 8)[:2] + b"\0\1" + read(0, 8)[4:]):
        assert trial.session.cached_reply(segment) is None


def test_while_the_log_takes_a_line_for_each_read_no_reply_comes_from_the_cache() -> None:
    trial = Trial(cache=True)
    trial.session.respond(read(0, 8))
    assert trial.session.cached_reply(read(0, 8)) is not None
    for _ in range(2):
        trial.now += 60.0
        trial.concentrator.tick()
    assert trial.session.cached_reply(read(0, 8)) is None
    trial.session.respond(read(0, 8))
    assert trial.journal[-1].endswith("Total served: 3")
