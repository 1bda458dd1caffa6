"""The program of the initrd: whatever fails, the Pi boots with folders that can be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.image.state import __main__ as program
from tools.image.state import boot, mounts, places
from tools.image.state.boot import Report
from tools.image.state.devices import Disk


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the program mounts and logs, in order, instead of doing so."""
    found: list[str] = []

    def mount_all(listed: list[places.Place], state: Path, *_: object) -> None:
        assert listed == places.read()
        found.append(f"places from {state}")

    monkeypatch.setattr(program, "_FOLDER", tmp_path)
    monkeypatch.setattr(program, "_unmount", lambda: found.append("unmount"))
    monkeypatch.setattr(program, "_mount_memory", lambda: found.append("memory"))
    monkeypatch.setattr(program, "_log", lambda level, text: found.append(f"<{level}>{text}"))
    monkeypatch.setattr(Disk, "of_root", lambda: None)
    monkeypatch.setattr(mounts, "mount_all", mount_all)
    monkeypatch.setattr(boot, "make_machine_id", lambda _: False)
    monkeypatch.setattr(boot, "write_report", lambda report: (tmp_path / "report").write_text(repr(report)))
    return found


def test_a_whole_card_is_mounted_in_silence(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "mount_state", lambda *_: Report(device="mmcblk0p8"))

    assert program.main(["boot"]) == 0

    assert calls == [f"places from {tmp_path}"]
    assert "mmcblk0p8" in (tmp_path / "report").read_text()


@pytest.mark.parametrize("error", [OSError("no disk"), ValueError("x"), AssertionError(), RecursionError()])
def test_an_error_of_any_kind_ends_in_memory(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> Report:
        raise error

    monkeypatch.setattr(boot, "mount_state", fail)

    assert program.main(["boot"]) == 0

    assert calls[:3] == ["unmount", "memory", f"places from {tmp_path}"]
    assert calls[3] == f"<3>all changes are in memory and lost at the next restart: {error!r}"


def test_a_machine_id_without_room_does_not_stop_the_boot(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(boot, "mount_state", lambda *_: Report())
    monkeypatch.setattr(boot, "make_machine_id", fail)

    assert program.main(["boot"]) == 0
    assert calls[-1] == "<3>no machine-id: [Errno 28] No space left on device"


def test_the_first_boot_is_logged(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "mount_state", lambda *_: Report())
    monkeypatch.setattr(boot, "make_machine_id", lambda _: True)

    program.main(["boot"])

    assert calls[-1] == "<5>first boot: made the machine-id"


def test_another_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["mount"]) == 2
    assert "`boot`" in capsys.readouterr().err
