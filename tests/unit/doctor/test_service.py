"""Unit, configuration, release, meters, peers and history: good, bad and unknown."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.wire import SAMPLE_REGISTERS, write

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.health import quiet_limit
from smart_meter.config import CONTROL_ZONE, FIELD_ZONE, Config, HistoryConfig, MeterConfig
from smart_meter.doctor.check import Check, Level
from smart_meter.doctor.service import (
    Answer,
    HistoryFile,
    failed_writers,
    judge_configuration,
    judge_history,
    judge_meter,
    judge_peer,
    judge_release,
    judge_starts,
    judge_unit,
)
from smart_meter.registers.status_block import State, Status
from smart_meter.runtime import state_file

ACTIVE = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}


def unit(**properties: str) -> list[Level]:
    checks = judge_unit({**ACTIVE, **properties}, written=b"a", started=b"a")
    return [check.level for check in checks]


def test_a_unit_that_runs_and_starts_at_boot_is_good() -> None:
    assert unit(NRestarts="0") == [Level.OK, Level.OK, Level.OK]


def test_a_unit_that_restarted_by_itself_is_a_warning() -> None:
    [check, _, _] = judge_unit({**ACTIVE, "NRestarts": "3"})
    assert (check.level, check.found) == (Level.WARNING, "active (running), restarted 3 times by itself")


def test_a_unit_that_failed_is_bad_with_its_exit_code() -> None:
    failed = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "2"}
    [check, _, _] = judge_unit({**ACTIVE, **failed})
    assert (check.level, check.found) == (Level.BAD, "failed (failed), exit-code, exit code 2")
    assert check.fix.startswith("sudo systemctl start smart-meter")


def test_a_unit_that_does_not_start_at_boot_is_bad() -> None:
    assert unit(UnitFileState="disabled") == [Level.OK, Level.BAD, Level.OK]


@pytest.mark.parametrize(
    ("properties", "written", "started", "level"),
    [
        ({}, b"a", b"a", Level.OK),
        ({"NeedDaemonReload": "no"}, b"a", b"a", Level.OK),
        ({}, b"b", b"a", Level.BAD),
        ({"NeedDaemonReload": "yes"}, b"a", b"a", Level.BAD),
        ({"NeedDaemonReload": "yes"}, b"a", None, Level.BAD),
        ({}, b"a", None, Level.UNKNOWN),
        ({}, None, b"a", Level.UNKNOWN),
    ],
)
def test_a_unit_file_that_changed_since_the_start_is_bad(
    properties: dict[str, str], written: bytes | None, started: bytes | None, level: Level
) -> None:
    check = judge_unit({**ACTIVE, **properties}, written=written, started=started)[-1]
    assert (check.name, check.level) == ("unit file", level)
    assert bool(check.fix) == (level is not Level.OK)


def test_without_a_unit_it_is_bad_and_without_systemd_unknown() -> None:
    assert [check.level for check in judge_unit({"LoadState": "not-found"})] == [Level.BAD]
    assert [check.level for check in judge_unit(None)] == [Level.UNKNOWN]


def configuration(*problems: str, **changed: Any) -> Check:
    facts: dict[str, Any] = {"readable": True, "disk": b"a", "running": b"a", "alive": True, **changed}
    return judge_configuration("/etc/config.toml", problems, **facts)


def test_a_configuration_that_runs_is_good() -> None:
    assert configuration().level is Level.OK


def test_a_configuration_that_was_written_but_not_loaded_is_bad() -> None:
    check = configuration(running=b"b")
    assert (check.level, check.fix) == (Level.BAD, "sudo systemctl reload smart-meter")


def test_a_configuration_that_is_refused_is_bad_with_its_first_problem() -> None:
    check = configuration("x: is wrong", "y: is wrong")
    assert (check.level, check.found) == (Level.BAD, "refused: x: is wrong (and 1 more)")


@pytest.mark.parametrize("changed", [{"readable": False}, {"alive": False}, {"running": None}])
def test_a_configuration_that_cannot_be_compared_is_unknown(changed: dict[str, Any]) -> None:
    assert configuration(**changed).level is Level.UNKNOWN


def test_the_release_that_runs_is_the_one_that_is_installed() -> None:
    assert judge_release("releases/2", "releases/2").level is Level.OK
    assert judge_release("releases/2", "releases/1").level is Level.BAD
    assert judge_release("releases/2", None).level is Level.UNKNOWN
    assert judge_release(None, None).level is Level.UNKNOWN


def test_a_release_that_is_damaged_is_bad_whatever_runs() -> None:
    check = judge_release("releases/2", "releases/2", "module.py changed since the installation")

    assert check.level is Level.BAD
    assert check.found == "2 is damaged: module.py changed since the installation"
    assert "make provision" in check.fix


def test_a_release_without_recorded_hashes_is_not_known_to_be_intact() -> None:
    assert judge_release("releases/2", "releases/2", None).level is Level.UNKNOWN


[METER] = Config().meters
FRESH = Status(1, State.FRESH, 3, 120, 0, METER.map.fingerprint, 120, 0)


def meter(status: Status, running_for: float | None = 1000.0) -> Check:
    return judge_meter(METER, Answer(status), running_for)


def test_a_fresh_meter_is_good() -> None:
    check = meter(FRESH)
    assert (check.level, check.found) == (Level.OK, "fresh, last sample 3 s ago, 120 since the start")


@pytest.mark.parametrize(
    ("status", "running_for", "level"),
    [
        (FRESH._replace(state=State.STALE, age=600), 1000.0, Level.BAD),
        (FRESH._replace(state=State.WAITING, age=None), 1000.0, Level.BAD),
        (FRESH._replace(state=State.RESTORED), None, Level.BAD),
        (FRESH._replace(state=State.RESTORED), 5.0, Level.WARNING),
        (FRESH._replace(out_of_range=0b100), 1000.0, Level.WARNING),
        (FRESH._replace(fingerprint="00000000"), 1000.0, Level.BAD),
    ],
)
def test_a_meter_that_is_not_fresh(status: Status, running_for: float | None, level: Level) -> None:
    check = meter(status, running_for)
    assert check.level is level
    assert check.fix


def test_measurements_out_of_range_are_named() -> None:
    assert meter(FRESH._replace(out_of_range=0b100)).found.endswith("out of range: V_dc")


def test_a_service_that_does_not_answer_is_bad() -> None:
    check = judge_meter(METER, Answer(None, "127.0.0.1:502: connection refused"), None)
    assert (check.level, check.found) == (Level.BAD, "no answer: 127.0.0.1:502: connection refused")


NOW = 10_000.0
STATE = {
    "started": 1000.0,
    "peers": {
        "ESP32": {"received": 7, "last_received": NOW - 2, "served": 0, "last_served": None},
        "OPTA": {"received": 0, "last_received": None, "served": 9, "last_served": NOW - 61},
    },
}


def test_an_esp32_that_writes_is_good() -> None:
    check = judge_peer(FIELD_ZONE, STATE, NOW, 60.0)
    assert (check.name, check.found, check.level) == (
        "ESP32 heard",
        "2 s ago, 7 since the start",
        Level.OK,
    )


def test_an_opta_that_stopped_reading_is_bad_with_the_time_of_its_last_read() -> None:
    check = judge_peer(CONTROL_ZONE, STATE, NOW, 60.0)
    assert (check.name, check.found, check.level) == (
        "Opta reading",
        "61 s ago, 9 since the start",
        Level.BAD,
    )
    assert "ip neighbour show dev eth0" in check.fix


def test_a_peer_that_was_never_active_is_bad_once_its_time_is_up() -> None:
    silent = {"started": NOW - 300, "peers": {}}
    assert judge_peer(FIELD_ZONE, silent, NOW, 60.0).found == "never since the service started, 5 min ago"
    assert judge_peer(FIELD_ZONE, silent, NOW, 60.0).level is Level.BAD
    assert judge_peer(FIELD_ZONE, {**silent, "started": NOW - 5}, NOW, 60.0).level is Level.WARNING


def state_after(write_: bytes, *meters: MeterConfig) -> dict[str, Any]:
    """Return the service's state after a field host has sent a write twelve times, the last one 3 s ago."""
    now = NOW - 36
    concentrator = Concentrator(Config(meters=meters), lambda _: None, lambda: now, lambda: 0.0)
    session = concentrator.admit("192.168.1.50")
    assert session
    for _ in range(12):
        session.respond(write_)
        now += 3
        concentrator.tick()
    return state_file.record(concentrator, started=NOW - 300, port=502, history=None)


START = METER._replace(sample_starts_at=0)


@pytest.mark.parametrize(
    ("write_", "meters", "why"),
    [
        (
            write(1),
            (METER,),
            "192.168.1.50 was refused 12 times, last 3 s ago: "
            "exception 02 (registers 1-8 of unit 1; the map has registers 0-7)",
        ),
        (
            write(0, SAMPLE_REGISTERS[:6]),
            (START,),
            "192.168.1.50 wrote 12 incomplete samples: registers 6-7 are missing",
        ),
        (
            write(0, unit=255),
            (METER, METER._replace(name="other", unit_id=2)),
            "192.168.1.50 was refused 12 times, last 3 s ago: "
            "exception 0B (registers 0-7 of unit 255; no meter has this unit)",
        ),
    ],
    ids=["an address off by one", "six of eight registers", "unit 255 at two meters"],
)
def test_a_writer_that_never_gets_a_sample_through_is_named_with_the_reason(
    write_: bytes, meters: tuple[MeterConfig, ...], why: str
) -> None:
    state = state_after(write_, *meters)

    check = judge_peer(FIELD_ZONE, state, NOW, 60.0)

    assert check.level is Level.BAD
    assert check.found == f"never since the service started, 5 min ago; {why}"
    assert failed_writers(state, NOW, meter="pv") == why
    assert failed_writers(state, NOW, peer="Opta") == failed_writers(None, NOW) == ""
    waiting = Answer(FRESH._replace(state=State.WAITING, age=None, samples=0))
    found = judge_meter(METER, waiting, 300, failed_writers(state, NOW, meter="pv")).found
    assert found.endswith(f"0 since the start; {why}")


def test_without_a_state_file_the_peers_are_unknown() -> None:
    assert judge_peer(FIELD_ZONE, None, NOW, 60.0).level is Level.UNKNOWN


def test_a_peer_may_be_silent_for_the_longest_age_of_a_value() -> None:
    assert quiet_limit(Config()) == 60
    assert quiet_limit(Config(meters=(METER._replace(stale_after=0),))) == 60
    assert quiet_limit(Config(meters=(METER, METER._replace(stale_after=600)))) == 600


def test_a_writer_whose_cycle_has_an_assumed_beginning_is_a_warning() -> None:
    [check] = judge_starts([METER], {"assumed_starts": {"pv": ["192.168.1.50"], "gone": ["192.168.1.51"]}})
    assert (check.level, check.name) == (Level.WARNING, "samples of pv")
    assert check.found == (
        "192.168.1.50 has no clear pause: its samples are assumed to begin with register 0"
    )
    assert "sample_starts_at" in check.fix
    assert judge_starts([METER], {"assumed_starts": {}}) == judge_starts([METER], {}) == []
    assert judge_starts([METER], None) == []


RECORDED = HistoryConfig("/var/lib/smart-meter/history.db")
FILE = HistoryFile(folder=True, owner="smart-meter", bytes=5_000_000)
REPORTED = {"stored": 9, "lost": 0, "failing": False}


def history(file: HistoryFile | None = FILE, **reported: Any) -> Check:
    return judge_history(RECORDED, file, {**REPORTED, **reported}, "smart-meter")


def test_a_history_that_is_recorded_is_good_and_so_is_one_that_is_not_configured() -> None:
    assert history().found == "recorded, 5 MB"
    assert history().level is Level.OK
    assert history(spooled=True).level is Level.OK
    assert judge_history(HistoryConfig(), None, None, "smart-meter").level is Level.OK


@pytest.mark.parametrize(
    ("file", "reported", "level", "found"),
    [
        (FILE, {"failing": True}, Level.BAD, "it is not writable"),
        (HistoryFile(folder=False, owner=None), {}, Level.BAD, "/var/lib/smart-meter does not exist"),
        (replace(FILE, read_only=True), {}, Level.BAD, "its file system is read-only"),
        (replace(FILE, owner=None), {}, Level.BAD, "there is no file"),
        (replace(FILE, owner="root"), {}, Level.BAD, "its file belongs to root"),
        (FILE, {"lost": 3}, Level.WARNING, "recorded, 5 MB; 3 samples were lost"),
        (
            FILE,
            {"spooled": False},
            Level.WARNING,
            "recorded, 5 MB, without a spool: a kill of the service loses the samples since the last commit",
        ),
        (FILE, {"deleted_young": 7}, Level.WARNING, "recorded, 5 MB, full: 7 rows deleted before 400 days"),
        (replace(FILE, quarantined=("x",)), {}, Level.WARNING, "recorded, 5 MB; damaged and quarantined: x"),
        (None, {}, Level.UNKNOWN, "this user may not see /var/lib/smart-meter"),
    ],
)
def test_a_history_that_is_not_recorded(
    file: HistoryFile | None, reported: dict[str, Any], level: Level, found: str
) -> None:
    check = history(file, **reported)
    assert (check.level, check.found) == (level, found)
    assert check.fix
