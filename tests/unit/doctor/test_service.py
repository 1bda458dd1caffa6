"""Unit, configuration, release, meters, peers, history: good, bad, and not to be told."""

from dataclasses import replace
from typing import Any

import pytest

from smart_meter.config import CONTROL_ZONE, FIELD_ZONE, Config, HistoryConfig
from smart_meter.doctor.check import Check, Level
from smart_meter.doctor.service import (
    Answer,
    HistoryFile,
    judge_configuration,
    judge_history,
    judge_meter,
    judge_peer,
    judge_release,
    judge_unit,
    quiet_limit,
)
from smart_meter.registers.status_block import State, Status

ACTIVE = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}


def unit(**properties: str) -> list[Level]:
    return [check.level for check in judge_unit({**ACTIVE, **properties})]


def test_a_unit_that_runs_and_starts_at_boot_is_good() -> None:
    assert unit(NRestarts="0") == [Level.OK, Level.OK]


def test_a_unit_that_restarted_by_itself_is_told() -> None:
    [check, _] = judge_unit({**ACTIVE, "NRestarts": "3"})
    assert (check.level, check.found) == (Level.WARNING, "active (running), restarted 3 times by itself")


def test_a_unit_that_failed_is_bad_with_its_exit_code() -> None:
    failed = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "2"}
    [check, _] = judge_unit({**ACTIVE, **failed})
    assert (check.level, check.found) == (Level.BAD, "failed (failed), exit-code, exit code 2")
    assert check.mend.startswith("sudo systemctl start smart-meter")


def test_a_unit_that_does_not_start_at_boot_is_bad() -> None:
    assert unit(UnitFileState="disabled") == [Level.OK, Level.BAD]


def test_without_a_unit_it_is_bad_and_without_systemd_unknown() -> None:
    assert [check.level for check in judge_unit({"LoadState": "not-found"})] == [Level.BAD]
    assert [check.level for check in judge_unit(None)] == [Level.UNKNOWN]


def configuration(*problems: str, **changed: Any) -> Check:
    facts: dict[str, Any] = {"readable": True, "disk": b"a", "running": b"a", "alive": True, **changed}
    return judge_configuration("/etc/config.toml", problems, **facts)


def test_a_configuration_that_runs_is_good() -> None:
    assert configuration().level is Level.OK


def test_a_configuration_that_was_written_and_never_taken_is_bad() -> None:
    check = configuration(running=b"b")
    assert (check.level, check.mend) == (Level.BAD, "sudo systemctl reload smart-meter")


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
    check = judge_release("releases/2", "releases/2", "module.py not as installed")

    assert check.level is Level.BAD
    assert check.found == "2 is damaged: module.py not as installed"
    assert "make provision" in check.mend


def test_a_release_without_recorded_hashes_is_not_known_to_be_whole() -> None:
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
    assert check.mend


def test_what_is_out_of_range_is_named() -> None:
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


def test_an_esp32_that_writes_is_heard() -> None:
    check = judge_peer(FIELD_ZONE, STATE, NOW, 60.0)
    assert (check.name, check.found, check.level) == (
        "ESP32 heard",
        "2 s ago, 7 since the start",
        Level.OK,
    )


def test_an_opta_that_reads_no_more_is_bad_with_the_time_of_its_last_read() -> None:
    check = judge_peer(CONTROL_ZONE, STATE, NOW, 60.0)
    assert (check.name, check.found, check.level) == (
        "Opta reading",
        "61 s ago, 9 since the start",
        Level.BAD,
    )
    assert "ip neighbour show dev eth0" in check.mend


def test_a_peer_that_was_never_heard_is_bad_once_it_had_time() -> None:
    silent = {"started": NOW - 300, "peers": {}}
    assert judge_peer(FIELD_ZONE, silent, NOW, 60.0).found == "never since the service started, 5 min ago"
    assert judge_peer(FIELD_ZONE, silent, NOW, 60.0).level is Level.BAD
    assert judge_peer(FIELD_ZONE, {**silent, "started": NOW - 5}, NOW, 60.0).level is Level.WARNING


def test_a_service_that_does_not_tell_leaves_its_peers_unknown() -> None:
    assert judge_peer(FIELD_ZONE, None, NOW, 60.0).level is Level.UNKNOWN


def test_a_peer_may_be_silent_as_long_as_a_value_may_be_old() -> None:
    assert quiet_limit(Config()) == 60
    assert quiet_limit(Config(meters=(METER._replace(stale_after=0),))) == 60
    assert quiet_limit(Config(meters=(METER, METER._replace(stale_after=600)))) == 600


KEPT = HistoryConfig("/var/lib/smart-meter/history.db")
FILE = HistoryFile(folder=True, owner="smart-meter", bytes=5_000_000)
TOLD = {"stored": 9, "lost": 0, "failing": False}


def history(file: HistoryFile | None = FILE, **told: Any) -> Check:
    return judge_history(KEPT, file, {**TOLD, **told}, "smart-meter")


def test_a_history_that_is_kept_is_good_and_so_is_one_that_is_not_wanted() -> None:
    assert history().found == "kept, 5 MB"
    assert history().level is Level.OK
    assert judge_history(HistoryConfig(), None, None, "smart-meter").level is Level.OK


@pytest.mark.parametrize(
    ("file", "told", "level", "found"),
    [
        (FILE, {"failing": True}, Level.BAD, "it can't be written"),
        (HistoryFile(folder=False, owner=None), {}, Level.BAD, "no folder /var/lib/smart-meter"),
        (replace(FILE, read_only=True), {}, Level.BAD, "its file system is read-only"),
        (replace(FILE, owner=None), {}, Level.BAD, "no file"),
        (replace(FILE, owner="root"), {}, Level.BAD, "its file belongs to root"),
        (FILE, {"lost": 3}, Level.WARNING, "kept, 5 MB; 3 samples were lost"),
        (replace(FILE, set_aside=("x",)), {}, Level.WARNING, "kept, 5 MB; damaged and set aside: x"),
        (None, {}, Level.UNKNOWN, "/var/lib/smart-meter is not for this user to see"),
    ],
)
def test_a_history_that_is_not_kept(
    file: HistoryFile | None, told: dict[str, Any], level: Level, found: str
) -> None:
    check = history(file, **told)
    assert (check.level, check.found) == (level, found)
    assert check.mend
