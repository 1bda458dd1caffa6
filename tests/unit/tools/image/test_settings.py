"""What an image is built for, and the progress that a build shows."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from tools.image import settings
from tools.image.process import BuildError, last_lines, run
from tools.image.settings import Settings, SettingsError
from tools.image.steps import Steps


@pytest.mark.parametrize(
    ("architecture", "kernel", "message"),
    [
        ("armhf", "stable", "image_architecture: 'armhf' is not one of arm64, amd64"),
        ("arm64", "rpi", "image_kernel: 'rpi' is not one of stable, backports"),
    ],
)
def test_an_image_that_can_not_be_built_is_refused(architecture: str, kernel: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(architecture, kernel, 0)


def test_each_architecture_has_its_packages() -> None:
    arm64, amd64 = Settings("arm64", "stable", 0), Settings("amd64", "stable", 0)

    assert {"raspi-firmware", "firmware-brcm80211", "linux-image-arm64"} <= set(arm64.packages())
    assert "linux-image-amd64" in amd64.packages()
    assert {"network-manager", "openssh-server", "ufw", "authbind"} <= set(arm64.packages()) & set(
        amd64.packages()
    )


def test_images_of_different_kernels_have_different_names() -> None:
    assert Settings("arm64", "stable", 0).name == "smart-meter-arm64"
    assert Settings("arm64", "backports", 0).name == "smart-meter-arm64-backports"


def test_the_digest_depends_on_settings_and_packages() -> None:
    built = Settings("arm64", "stable", 1)

    assert built.digest("dash\t1\n") == built.digest("dash\t1\n")
    others = (
        Settings("amd64", "stable", 1),
        Settings("arm64", "backports", 1),
        Settings("arm64", "stable", 2),
    )
    digests = {built.digest("dash\t1\n"), built.digest("dash\t2\n"), *(o.digest("dash\t1\n") for o in others)}
    assert len(digests) == 5


def test_new_files_count_and_ignored_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for name in ("tools/new.py", "tools/x.pyc", "docs/other.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    (tmp_path / "tools/old.py").touch()
    subprocess.run(["git", "-C", tmp_path, "add", "tools/old.py"], check=True)
    monkeypatch.setattr(settings, "REPOSITORY", tmp_path)

    assert settings._tracked() == ["tools/new.py", "tools/old.py"]


def test_the_epoch_is_the_last_commits_or_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert settings.source_epoch() > 1_700_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert settings.source_epoch() == 1_700_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(SettingsError, match="SOURCE_DATE_EPOCH"):
        settings.source_epoch()


def test_a_step_that_takes_long_shows_what_it_does() -> None:
    output = io.StringIO()
    steps = Steps(1, output)

    with steps.step("root"):
        steps.note("Setting up dash " + 200 * "x")

    assert output.getvalue().splitlines()[1].startswith("      0 s: Setting up dash xxx")
    assert len(output.getvalue().splitlines()[1]) < 120


def test_the_last_lines_of_a_log_are_printable(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(5000 * b"x" + b"\n\x1b[0;32mUnpacking\x1b[0m dash\r\nSetting up \xff\x07\n\n")

    assert last_lines(log, 2) == "Unpacking dash\nSetting up \ufffd"


def test_a_tool_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)sh failed with exit status 3 .*no such card"):
        run(["sh", "-c", "echo no such card; exit 3"], tmp_path / "log", lambda _: None)


def test_each_step_shows_its_number_and_its_time() -> None:
    output = io.StringIO()
    steps = Steps(2, output)

    with steps.step("root"):
        pass
    with steps.step("disk"):
        pass

    assert output.getvalue().splitlines() == [
        "[1/2] root ...",
        "[1/2] root: 0 s",
        "[2/2] disk ...",
        "[2/2] disk: 0 s",
    ]
    assert steps.total < 1


def test_an_image_on_raspberry_pi_os_has_its_kernels_and_more_room(tmp_path: Path) -> None:
    base = tmp_path / "raspios.img"
    base.write_bytes(b"one")
    built = Settings("arm64", "stable", 0, base)

    assert built.name == "smart-meter-arm64-raspios"
    assert not {"linux-image-arm64", "raspi-firmware"} & set(built.packages())
    assert {"network-manager", "ufw", "authbind"} <= set(built.packages())
    assert built.root_mib == 3 * Settings("arm64", "stable", 0).root_mib
    digest = built.digest("")
    base.write_bytes(b"two")
    assert built.digest("") != digest
    with pytest.raises(SettingsError, match="image_kernel: backports: leave it out"):
        Settings("arm64", "backports", 0, base)


def test_what_the_repository_decides_depends_on_neither_packages_nor_the_epoch() -> None:
    built = Settings("arm64", "stable", 1)

    assert built.inputs() == Settings("arm64", "stable", 2).inputs()
    assert built.inputs() != Settings("amd64", "stable", 1).inputs()
    assert built.inputs() != built.digest("")


def test_a_base_that_is_missing_is_named_with_the_fix(tmp_path: Path) -> None:
    settings = Settings("arm64", "stable", 0, tmp_path / "missing.img")

    with pytest.raises(
        SettingsError, match=r"image_base: .*/missing.img can't be read: No such file.*; give the"
    ):
        settings.inputs()
