"""What the running system has to read again after a card, and the boot partition's mount."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from smart_meter.site_card.apply import Outcome, Result
from smart_meter.site_card.boot_partition import BootPartition
from smart_meter.site_card.commands import Done, run
from smart_meter.site_card.effect import take_effect
from smart_meter.site_card.places import BY_KEY


class Commands:
    """Notes commands, and returns the same status for each."""

    def __init__(self, status: int = 0) -> None:
        self.run: list[list[str]] = []
        self.status = status

    def __call__(self, command: Sequence[str]) -> Done:
        self.run.append(list(command))
        return Done(self.status, "not\nnow")


def ran(root: Path, *changed: str) -> list[list[str]]:
    commands, names = Commands(), list[str]()
    outcome = Outcome(Result.APPLIED, (), changed, "pi-north")
    assert list(take_effect(outcome, commands, names.append, root)) == []
    assert names == ["pi-north"]
    return commands.run


def test_systemd_reads_its_units_again(tmp_path: Path) -> None:
    assert ran(tmp_path) == [["systemctl", "daemon-reload"]]
    assert ran(tmp_path, BY_KEY["watchdog"].path) == [["systemctl", "daemon-reexec"]]


def test_what_started_before_reads_its_files_again(tmp_path: Path) -> None:
    country = tmp_path / BY_KEY["wifi_country"].path.lstrip("/")
    country.parent.mkdir(parents=True)
    country.write_text("# x\noptions cfg80211 ieee80211_regdom=AT\n")

    assert ran(tmp_path, *(BY_KEY[key].path for key in ("kernel", "journal", "time", "wifi_country")))[
        1:
    ] == [
        ["/usr/lib/systemd/systemd-sysctl"],
        ["systemctl", "--no-block", "try-restart", "systemd-journald.service"],
        ["systemctl", "--no-block", "try-restart", "systemd-timesyncd.service"],
        ["iw", "reg", "set", "AT"],
    ]


def test_a_unit_that_is_enabled_now_starts_and_one_that_is_not_stops(tmp_path: Path) -> None:
    link = BY_KEY["wifi_unit"].link
    place = tmp_path / link.lstrip("/")

    assert ran(tmp_path, link)[1:] == [["systemctl", "--no-block", "stop", "smart-meter-wifi.service"]]
    place.parent.mkdir(parents=True)
    place.symlink_to(BY_KEY["wifi_unit"].path)
    assert ran(tmp_path, link)[1:] == [["systemctl", "--no-block", "start", "smart-meter-wifi.service"]]


def test_what_fails_is_reported(tmp_path: Path) -> None:
    def no_name(_: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    outcome = Outcome(Result.APPLIED, (), (), "pi-north")

    assert list(take_effect(outcome, Commands(1), no_name, tmp_path)) == [
        "the host name is set from the next restart on: Operation not permitted",
        "`systemctl daemon-reload` failed, so a part takes effect at the next restart: not now",
    ]


def test_the_boot_partition_is_writable_only_while_something_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReadOnly:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly())
    monkeypatch.setattr(os.path, "ismount", lambda _: True)
    commands = Commands()
    partition = BootPartition(tmp_path, commands)

    partition.answer(["good"])
    partition.answer(["good"])

    mount = ["mount", "-o"]
    assert commands.run == [[*mount, "remount,rw", str(tmp_path)], [*mount, "remount,ro", str(tmp_path)]]


def test_a_program_that_is_missing_or_fails_is_no_exception() -> None:
    assert run(["no-such-program"]).status == 127
    assert run(["sh", "-c", "echo out; echo error >&2; exit 3"]) == Done(3, "out\nerror\n")
