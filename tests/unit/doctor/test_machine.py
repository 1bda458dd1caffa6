"""Clock, disk, card, temperature and power: good, bad and unknown."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from smart_meter.doctor.check import Level
from smart_meter.doctor.facts import restart_due
from smart_meter.doctor.machine import (
    Card,
    Disk,
    judge_boot_partition,
    judge_card,
    judge_clock,
    judge_disk,
    judge_journal,
    judge_life,
    judge_power,
    judge_restart,
    judge_temperature,
)

INSTALLED = 1_780_000_000.0
GIB = 2**30


def test_a_synchronised_clock_is_good() -> None:
    assert judge_clock(INSTALLED + 5, synchronised=True, not_before=INSTALLED).level is Level.OK


def test_a_clock_that_is_not_synchronised_is_a_warning_and_one_that_cannot_be_read_is_unknown() -> None:
    assert judge_clock(INSTALLED + 5, synchronised=False, not_before=INSTALLED).level is Level.WARNING
    assert judge_clock(INSTALLED + 5, synchronised=None, not_before=INSTALLED).level is Level.UNKNOWN


def test_a_clock_before_the_installation_is_bad_even_if_it_is_synchronised() -> None:
    check = judge_clock(0.0, synchronised=True, not_before=INSTALLED)
    assert check.level is Level.BAD
    assert check.found.startswith("1970-01-01T00:00:00+00:00, which is in the past")
    assert "sudo date --utc --set" in check.fix


@pytest.mark.parametrize(
    ("disk", "level"),
    [
        (Disk("/", 32 * GIB, 16 * GIB), Level.OK),
        (Disk("/", 32 * GIB, 2 * GIB), Level.WARNING),
        (Disk("/", 32 * GIB, GIB // 4), Level.BAD),
        (Disk("/", GIB // 2, GIB // 16), Level.BAD),
        (Disk("/", 0, 0), Level.BAD),
        (Disk("/", 32 * GIB, 16 * GIB, read_only=True), Level.BAD),
    ],
)
def test_free_space_on_a_disk(disk: Disk, level: Level) -> None:
    check = judge_disk(disk)
    assert check.level is level
    assert bool(check.fix) is (level is not Level.OK)


ID = "cba34647cfd44495a679e8c645cd90ee"


@pytest.mark.parametrize(
    ("files", "level", "found"),
    [
        (
            [f"/var/log/journal/{ID}/user-1000.journal", f"/var/log/journal/{ID}/system.journal"],
            Level.OK,
            "on the card, kept over restarts",
        ),
        (
            [f"/run/log/journal/{ID}/system.journal"],
            Level.BAD,
            f"in memory only (/run/log/journal/{ID}/system.journal), lost at a restart",
        ),
        ([], Level.BAD, "not stored at all"),
        ([f"/var/log/journal/{ID}/user-1000.journal"], Level.BAD, "not stored at all"),
        (None, Level.UNKNOWN, "only root can see which files journald has open"),
    ],
)
def test_where_the_journal_is(files: list[str] | None, level: Level, found: str) -> None:
    check = judge_journal(files)
    assert (check.level, check.found) == (level, found)
    assert bool(check.fix) is (level is not Level.OK)


SD = Card("mmcblk0", "SD", written=int(1e9))
DAY = 86400.0


def test_what_writes_most_is_found_with_the_programs_of_an_image() -> None:
    card = replace(SD, written=int(90e9), size=int(1e9))

    for check in (judge_card(card, DAY), judge_life(card, DAY)):
        assert check.level is Level.WARNING
        assert check.fix.startswith("sudo grep ^write_bytes /proc/[0-9]*/io")


@pytest.mark.parametrize(
    ("card", "level", "found"),
    [
        (SD, Level.OK, "SD mmcblk0, 1.0 GB written in 24 h; an SD card does not report its wear"),
        (replace(SD, written=int(90e9)), Level.WARNING, "SD mmcblk0, 90.0 GB written in 24 h"),
        (Card("mmcblk0", "MMC", life=1), Level.OK, "MMC mmcblk0, 10 % of its life used up"),
        (Card("mmcblk0", "MMC", life=9), Level.WARNING, "MMC mmcblk0, 90 % of its life used up"),
        (Card("mmcblk0", "MMC", life=11), Level.BAD, "MMC mmcblk0, 100 % of its life used up"),
        (Card("mmcblk0", "MMC", end_of_life=2), Level.WARNING, "MMC mmcblk0"),
        (Card("mmcblk0", "MMC", end_of_life=3), Level.BAD, "MMC mmcblk0"),
        (Card("sda", written=int(9e12)), Level.OK, "disk sda, 9.0 TB written in 24 h; not a card"),
        (None, Level.UNKNOWN, "the system's device is not known"),
    ],
)
def test_wear(card: Card | None, level: Level, found: str) -> None:
    check = judge_card(card, DAY)
    assert (check.level, check.found) == (level, found)


def test_what_booting_wrote_is_not_taken_for_the_usual_rate() -> None:
    assert judge_card(replace(SD, written=int(1e9)), 60.0).level is Level.OK


@pytest.mark.parametrize(
    ("card", "uptime", "level", "found"),
    [
        (
            replace(SD, size=int(32e9), written=int(0.2e9)),
            DAY,
            Level.OK,
            "73.0 GB a year at the rate since boot: a card of 32.0 GB lasts 44 years",
        ),
        (
            replace(SD, size=int(8e9), written=int(1e9)),
            DAY,
            Level.WARNING,
            "365.2 GB a year at the rate since boot: a card of 8.0 GB lasts 2 years",
        ),
        (
            replace(SD, size=int(8e9), written=int(3e9)),
            DAY,
            Level.WARNING,
            "1.1 TB a year at the rate since boot: a card of 8.0 GB lasts 0.7 years",
        ),
        (
            replace(SD, size=int(32e9), written=0),
            DAY,
            Level.OK,
            "0 MB a year at the rate since boot: a card of 32.0 GB lasts over 100 years",
        ),
        (
            replace(SD, size=int(8e9), written=int(1e9)),
            600.0,
            Level.OK,
            "the rate is known six hours after a start",
        ),
        (Card("sda", written=int(9e12), size=int(1e12)), DAY, Level.OK, "sda is not a card"),
        (SD, DAY, Level.UNKNOWN, "what is written to the card is not known"),
        (replace(SD, size=1), None, Level.UNKNOWN, "what is written to the card is not known"),
        (None, DAY, Level.UNKNOWN, "what is written to the card is not known"),
    ],
)
def test_the_life_that_is_left_for_a_card(
    card: Card | None, uptime: float | None, level: Level, found: str
) -> None:
    check = judge_life(card, uptime)
    assert (check.level, check.found) == (level, found)
    assert bool(check.fix) is (level is Level.WARNING)


@pytest.mark.parametrize(
    ("celsius", "level"), [(45.0, Level.OK), (80.0, Level.WARNING), (85.0, Level.BAD), (None, Level.UNKNOWN)]
)
def test_temperature(celsius: float | None, level: Level) -> None:
    assert judge_temperature(celsius).level is level


def test_an_update_that_waits_for_a_restart_is_a_warning(tmp_path: Path) -> None:
    assert judge_restart(restart_due(tmp_path / "reboot-required")).level is Level.OK

    (tmp_path / "reboot-required").touch()
    os.utime(tmp_path / "reboot-required", (0, time.time() - 5 * 86400))
    found = judge_restart(restart_due(tmp_path / "reboot-required"))

    assert (found.level, found.found) == (Level.WARNING, "due for 5 days: an update takes effect only then")
    assert "appliance_unattended_reboot_time" in found.fix


@pytest.mark.parametrize(
    ("throttled", "level", "found"),
    [
        (0x0, Level.OK, "good"),
        (0x1, Level.BAD, "too low now"),
        (0x50005, Level.BAD, "too low now"),
        (0x10000, Level.WARNING, "was too low since boot"),
        (0x4, Level.WARNING, "good; throttled by heat"),
        (0x60000, Level.OK, "good"),
        (None, Level.UNKNOWN, "this machine does not report it"),
    ],
)
def test_supply_voltage(throttled: int | None, level: Level, found: str) -> None:
    check = judge_power(throttled)
    assert (check.level, check.found) == (level, found)


def test_a_wifi_passphrase_on_the_boot_partition_is_a_warning() -> None:
    assert judge_boot_partition([]).level is Level.OK
    check = judge_boot_partition(["/boot/firmware/network-config"])
    assert (check.level, check.found) == (
        Level.WARNING,
        "/boot/firmware/network-config: has a Wi-Fi passphrase",
    )
    assert "/etc/netplan" in check.fix
