"""The audit trail, and what it has recorded in the last 24 hours, in words."""

from dataclasses import replace
from typing import Any

import pytest

from smart_meter.config import EventsConfig
from smart_meter.doctor.check import Check, Level
from smart_meter.doctor.service import HistoryFile
from smart_meter.doctor.trail import judge_day, judge_trail
from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.reader import RecordedEvent
from smart_meter.log.audit.schema import NO_STOP

KEPT = EventsConfig("/var/lib/smart-meter/events.db")
FILE = HistoryFile(folder=True, owner="smart-meter", bytes=2_000_000)


def trail(file: HistoryFile | None = FILE, **reported: Any) -> Check:
    return judge_trail(KEPT, file, {"written": 5, "failing": False, **reported}, "smart-meter")


def test_an_audit_trail_that_is_written_is_good_and_so_is_one_that_is_not_configured() -> None:
    assert (trail().level, trail().found) == (Level.OK, "recorded, 2 MB")
    assert judge_trail(EventsConfig(), None, None, "smart-meter").level is Level.OK


@pytest.mark.parametrize(
    ("file", "reported", "level", "found"),
    [
        (FILE, {"failing": True}, Level.BAD, "it is not writable"),
        (HistoryFile(folder=False, owner=None), {}, Level.BAD, "/var/lib/smart-meter does not exist"),
        (replace(FILE, read_only=True), {}, Level.BAD, "its file system is read-only"),
        (replace(FILE, owner=None), {}, Level.BAD, "there is no file"),
        (replace(FILE, owner="root"), {}, Level.BAD, "its file belongs to root"),
        (FILE, {"deleted_young": 7}, Level.WARNING, "recorded, 2 MB, full: 7 rows deleted before 400 days"),
        (replace(FILE, quarantined=("x",)), {}, Level.WARNING, "recorded, 2 MB; damaged and quarantined: x"),
        (None, {}, Level.UNKNOWN, "this user may not see /var/lib/smart-meter"),
    ],
)
def test_an_audit_trail_that_is_not_as_it_should_be(
    file: HistoryFile | None, reported: dict[str, Any], level: Level, found: str
) -> None:
    check = trail(file, **reported)
    assert (check.name, check.level, check.found) == ("audit trail", level, found)
    assert check.fix


def event(
    kind: Kind, text: str = "it happened", client: str = "", count: int = 1, meter: str = ""
) -> RecordedEvent:
    return RecordedEvent(1, kind.value, client, meter, text, "", count, 0.0, 0.0)


def test_a_quiet_day_is_good() -> None:
    quiet = [event(Kind.START), event(Kind.STOP), event(Kind.FRESH, meter="pv"), event(Kind.CLOCK)]
    [check] = judge_day(quiet)
    assert (check.name, check.level, check.found) == ("last 24 hours", Level.OK, "nothing unusual")


def test_an_audit_trail_that_can_not_be_read_is_unknown() -> None:
    [check] = judge_day(None)
    assert check.level is Level.UNKNOWN


def test_refusals_are_counted_by_address_the_most_first() -> None:
    refused = [
        event(Kind.REFUSED, "wrote register 9", "192.168.1.51", 10_000, "pv"),
        event(Kind.REFUSED, "wrote unit 7", "192.168.1.50", 8),
        event(Kind.REFUSED, "wrote unit 8", "192.168.1.50", 4),
        event(Kind.REFUSED, "probed", "192.168.2.10", 5),
    ]
    [check] = judge_day(refused)
    assert (check.name, check.level) == ("last 24 hours: refusals", Level.WARNING)
    assert check.found == (
        "192.168.1.51: refused 10000 times, last: pv: wrote register 9; "
        "192.168.1.50: refused 12 times, last: wrote unit 8"
    )
    assert "events --since 24h --kind refused shows them; correct the client's registers" in check.fix


def test_many_addresses_are_summed_up() -> None:
    refused = [event(Kind.REFUSED, "x", f"10.0.0.{number}", 10 + number) for number in range(9)]
    [check] = judge_day([*refused, event(Kind.REFUSED, "x", "*", 500)])
    assert check.found.startswith("other addresses: refused 500 times")
    assert check.found.endswith("; and 7 more addresses")


@pytest.mark.parametrize(
    ("events", "name", "word"),
    [
        (
            [event(Kind.PARTIAL, "registers 6-7 are missing", "a")],
            "incomplete samples",
            "a: samples in parts once",
        ),
        ([event(Kind.THINNED, "x", "a", 3)], "samples over the budget", "not in the history 3 times"),
        ([event(Kind.TWO_WRITERS, "beside b", "a")], "two writers", "a: wrote beside another once"),
        ([event(Kind.CLOCK)] * 3, "clock", "set 3 times"),
        ([event(Kind.START), event(Kind.START, f"started; {NO_STOP}")], "unclean stops", "a crash once"),
        ([event(Kind.LOST), event(Kind.QUARANTINED)], "lost data", "damaged 2 times"),
        ([event(Kind.RELOAD_REFUSED)], "refused reloads", "refused once"),
    ],
)
def test_what_matters_is_a_warning_with_its_fix(events: list[RecordedEvent], name: str, word: str) -> None:
    [check] = judge_day(events)
    assert (check.name, check.level) == (f"last 24 hours: {name}", Level.WARNING)
    assert word in check.found
    assert "events --since 24h --kind " in check.fix
