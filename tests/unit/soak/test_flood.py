"""What the figures of a flood mean, and how its samples are found in the history."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from soak.flood_clients import Totals
from soak.flood_files import delete_rows, find, read_rows, spread
from soak.flood_frames import counter_of, registers
from soak.flood_result import Found, Phase, Reads, Report, judge, read_report
from soak.trail import Event

from smart_meter.concentrator.sink import client_number
from smart_meter.config import Config, HistoryConfig
from smart_meter.history.database import Database
from smart_meter.history.limits import StorageLimits
from smart_meter.history.running_time import Segment
from smart_meter.registers.status_block import State, encode

GENUINE, FLOODER, OTHER = "192.168.1.50", "192.168.1.210", "192.168.1.211"
FLOODERS = (FLOODER, OTHER)


def _phase(name: str, sent: int, rows: int, report: Report) -> Phase:
    return Phase(
        name=name,
        seconds=20,
        lifetime=21,
        flood=Totals(acknowledged=sent),
        reads=Reads(number=190),
        not_acknowledged=0,
        rows=2040 + rows,
        before=Found(2000),
        during=Found(40),
        report=report,
        file_bytes=15 * 2**20,
        stopped=True,
    )


def _limited() -> Phase:
    report = Report(
        FLOODERS, thinned=97_000, totals={"Thinned": 97_000}, lines={"thinned": {FLOODER}}, events=None
    )
    return _phase("limited", 100_000, 3000, report)


def _unlimited() -> Phase:
    report = Report(FLOODERS, lines={"deleted": {OTHER}}, events={"deleted": {OTHER}})
    return _phase("unlimited", 400_000, 200_000, report)


def _failures(limited: Phase, unlimited: Phase, control: tuple[int, int] = (10, 10)) -> tuple[str, ...]:
    return judge(limited, unlimited, control=control, genuine=GENUINE, size_mib=16).failures


def _with(phase: Phase, path: str, value: Any) -> Phase:
    """Return a phase with another value, such as of `reads.wrong`."""
    *parents, name = path.split(".")
    holder: Any = phase
    for parent in parents:
        holder = getattr(holder, parent)
    if isinstance(holder, Found):
        setattr(phase, parents[0], Found(**{"wanted": holder.wanted, name: value}))
    else:
        setattr(holder, name, value)
    return phase


def test_a_flood_passes_that_takes_nothing_and_is_reported() -> None:
    outcome = judge(_limited(), _unlimited(), control=(10, 10), genuine=GENUINE, size_mib=16)
    assert outcome.failures == ()
    assert outcome.often.startswith("100,000 samples of the flood, 400,000 with no budget; beside them 80 ")
    assert outcome.lost.startswith("0 and 0 of the 2,000 rows; 0 of the genuine client's new samples; 0 of ")
    assert outcome.lost.endswith("200,000 of its own rows replaced; control: 10 of 10 rows deleted by hand")


@pytest.mark.parametrize(
    ("path", "value", "failure"),
    [
        ("before.misattributed", 2, "2 of the genuine client's rows with another address"),
        ("before.partial", 1, "1 rows that are not a whole sample"),
        ("not_acknowledged", 1, "1 of the genuine client's writes not acknowledged"),
        ("reads.wrong", 3, "3 of Opta's reads with no or a wrong reply"),
        ("flood.wrong", 1, "1 connections of the flood with a wrong reply or none"),
        ("flood.unanswered", 1, "1 connections of the flood with a wrong reply or none"),
        ("reads.number", 9, "hardly any read"),
        ("during", Found(0), "hardly any new sample was acknowledged"),
        ("stopped", False, "the program did not stop properly"),
        ("file_bytes", 17 * 2**20, "the history takes 17,825,792 bytes"),
    ],
)
def test_whatever_the_clients_must_not_notice_fails_with_any_budget(
    path: str, value: Any, failure: str
) -> None:
    assert f"{failure} (limited)" in _failures(_with(_limited(), path, value), _unlimited())
    assert f"{failure} (unlimited)" in _failures(_limited(), _with(_unlimited(), path, value))


def test_missing_rows_fail() -> None:
    limited = _with(_limited(), "before.missing", 1)
    unlimited = _with(_unlimited(), "during.missing", 2)
    limited.rows -= 1
    assert _failures(limited, unlimited) == (
        "1 of the last day's rows missing (limited)",
        "2 of the genuine client's acknowledged samples not stored (unlimited)",
    )


def test_samples_that_the_service_counts_as_not_stored_fail() -> None:
    limited = _limited()
    limited.report.totals["Not stored"] = 5
    assert _failures(limited, _unlimited()) == ("5 samples not stored, by the statistics (limited)",)


def test_a_flood_that_is_not_thinned_fails() -> None:
    limited = _phase("limited", 100_000, 100_000, Report(FLOODERS))
    assert _failures(limited, _unlimited()) == (
        "100,000 rows of the flood are more than its budget",
        "no line `thinned` names an address of the flood",
    )


@pytest.mark.parametrize("thinned", [96_999, 97_001])
def test_a_wrong_count_of_thinned_samples_fails(thinned: int) -> None:
    limited = _limited()
    limited.report.thinned = thinned
    assert len(_failures(limited, _unlimited())) == 2


@pytest.mark.parametrize(
    ("addresses", "failure"),
    [
        (set(), "no line `thinned` names an address of the flood"),
        ({FLOODER, GENUINE}, "a line `thinned` names the genuine client"),
    ],
)
def test_a_flood_that_is_not_reported_as_its_own_fails(addresses: set[str], failure: str) -> None:
    limited = _limited()
    limited.report.lines = {"thinned": addresses}
    assert _failures(limited, _unlimited()) == (failure,)


def test_an_audit_trail_has_to_report_it_too() -> None:
    limited, unlimited = _limited(), _unlimited()
    limited.report.events, unlimited.report.events = {"thinned": {FLOODER}}, {"start": {""}}
    assert _failures(limited, unlimited) == ("no event `deleted` names an address of the flood",)


def test_a_flood_that_is_too_small_fails() -> None:
    limited = _phase("limited", 3000, 3000, Report(FLOODERS, lines={"thinned": {FLOODER}}))
    unlimited = _phase("unlimited", 200_000, 199_000, Report(FLOODERS, lines={"deleted": {FLOODER}}))
    assert _failures(limited, unlimited) == (
        "a flood of 3,000 samples proves nothing",
        "the flood did not fill the file: it proves nothing",
    )


@pytest.mark.parametrize("control", [(0, 10), (9, 10), (0, 0)])
def test_a_control_that_is_not_noticed_fails(control: tuple[int, int]) -> None:
    assert len(_failures(_limited(), _unlimited(), control)) == 1


def test_what_was_reported_is_read_from_log_status_and_trail() -> None:
    status = encode(
        State.FRESH, 0, samples=1, refused=0, fingerprint="a6e383d7", sequence=9, thinned_samples=41
    )
    log = (
        "[STATS] Received: 1 | Served: 0 | Connections: 9 (now 4) | Stored: 1 | Last sample: 0.1 s ago\n"
        f"[THINNED] pv: ESP32 ({FLOODER}) sends more than max_samples_per_second (10): readers get it\n"
        "[HISTORY] /h.db is full: rows younger than max_age_days (400) are deleted, now those of "
        f"{OTHER} (0.0 days old); raise max_size_mib\n"
        f"[WRITER] pv: ESP32 ({GENUINE}) writes it\n"
        "[STATS] Stopped | Received: 5 | Stored: 2 | Thinned: 41 | Last sample: 0.1 s ago\n"
    )
    events = [
        Event("thinned", FLOODER, "sends more than 10", "500 samples", 1, 1),
        Event("deleted", "", "rows were deleted", f"9 since the start, the last ones of {OTHER}", 2, 2),
        Event("start", "", "smart-meter 1.0.0 started", "", 3, 3),
    ]
    report = read_report(log, status, events, FLOODERS)
    assert report.thinned == report.totals["Thinned"] == 41
    assert report.totals["Stored"] == 2
    assert report.lines == {"thinned": {FLOODER}, "deleted": {OTHER}}
    assert report.events == {"thinned": {FLOODER}, "deleted": {OTHER}, "start": set()}
    assert read_report(log, status, None, FLOODERS).events is None


def test_a_sample_of_two_counters_has_none() -> None:
    assert counter_of(registers(7)) == 7
    assert counter_of(registers(7)[:8] + registers(8)[8:]) is None
    assert counter_of(registers(7)[:-2]) is None


def test_a_genuine_sample_is_found_by_its_counter_and_its_address() -> None:
    own, other = client_number(GENUINE), client_number(FLOODER)
    rows = [
        (registers(1), own),
        (registers(2), other),
        (registers(3), None),
        (registers(9), other),
        (b"", own),
    ]
    assert find(rows, range(1, 5), GENUINE) == Found(wanted=4, missing=1, misattributed=2, partial=1)


def _stored(path: Path, rows: int) -> None:
    """Store rows within a second, as the service does."""
    config = Config().meters
    database = Database(str(path), StorageLimits.of(HistoryConfig()), 1)
    with database.transaction():
        database.begin_segment(Segment("boot", 0, -50_000_000, 1_600_000_000_000_000))
        samples = [(0, 50 + row / 1000, None, 0, bytes(16), client_number(GENUINE)) for row in range(rows)]
        database.insert(samples, {0: config[0]})
    database.close()


def test_rows_are_spread_over_the_last_day_and_the_clocks_agree(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    _stored(path, 100)
    arrivals = "SELECT arrived FROM arrivals ORDER BY id"
    with closing(sqlite3.connect(path)) as database:
        before = [moment for (moment,) in database.execute(arrivals)]
        spread(path)
        after = [moment for (moment,) in database.execute(arrivals)]
        [(running, monotonic)] = database.execute("SELECT running, monotonic FROM clock")
    assert after[-1] == pytest.approx(before[-1])
    assert {round(later - earlier) for earlier, later in itertools.pairwise(after)} == {860}
    assert after[-1] - after[0] < 86_400
    assert (running, monotonic) == (0, 86_000_000_000 - 50_000_000)


def test_the_oldest_rows_are_deleted_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    _stored(path, 5)
    delete_rows(path, 2)
    assert len(read_rows(path)) == 3
