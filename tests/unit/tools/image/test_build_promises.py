"""The steps of a build that end it: nothing is written of a root file system that breaks a promise."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tools.image import disk, machine, models
from tools.image.build import Build
from tools.image.process import BuildError
from tools.image.settings import Settings
from tools.image.steps import Steps

VERSION = "6.12"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A build for a PC whose root file system can be sealed."""
    monkeypatch.setattr(machine, "emulator", lambda: None)
    settings = Settings("amd64", "stable", 1_700_000_000)
    made = Build(settings, tmp_path / "cache", tmp_path / "out", Steps(10, io.StringIO()))
    root = made.places.root
    for name in ("etc/ssh", "boot", f"usr/lib/modules/{VERSION}", "usr/lib/systemd/system", "var/log"):
        (root / name).mkdir(parents=True)
    (root / f"boot/vmlinuz-{VERSION}").touch()
    (root / f"usr/lib/modules/{VERSION}/modules.alias").touch()
    drivers = [driver for model in models.PC for driver in model.drivers]
    write_config(made, *(driver.option for driver in drivers))
    names = [f"kernel/{driver.module}.ko.xz" for driver in drivers if driver.for_root]
    (made.places.work / "initrd.txt").write_text("\n".join(names))
    return made


def write_config(built: Build, *options: str) -> None:
    text = "".join(f"CONFIG_{option}=m\n" for option in options)
    (built.places.root / f"boot/config-{VERSION}").write_text(text)


def test_a_root_that_keeps_the_promises_passes(built: Build) -> None:
    built.install_state()
    built.check_models()
    built.seal()

    marker = json.loads((built.places.root / "usr/lib/smart-meter/image").read_text())
    assert marker["name"] == "smart-meter-amd64"


def test_a_broken_seal_ends_the_build(built: Build) -> None:
    (built.places.root / "etc/shadow").write_text("root:$y$j9T$salt$hash:20000:0:99999:7:::\n")

    with pytest.raises(BuildError, match=r"(?s)can't be sealed.*passwords: etc/shadow: root has a password"):
        built.seal()


def test_a_secret_on_a_boot_partition_ends_the_build(built: Build) -> None:
    folder = built.places.content(disk.BOOT_A)
    folder.mkdir(parents=True)
    (folder / "wpa_supplicant.conf").write_text('network={\n  psk="secret"\n}\n')

    with pytest.raises(BuildError, match=r"(?s)can't be sealed.*secrets: boot-a: wpa_supplicant.conf has a"):
        built.seal()


@pytest.mark.parametrize("option", sorted(driver.option for driver in models.PC[0].drivers))
def test_a_kernel_without_a_driver_ends_the_build(built: Build, option: str) -> None:
    write_config(built, *(driver.option for driver in models.PC[0].drivers if driver.option != option))

    with pytest.raises(BuildError, match=rf"(?s)6.12 does not run on all.*CONFIG_{option} is not set"):
        built.check_models()


def test_an_initrd_without_a_driver_ends_the_build(built: Build) -> None:
    (built.places.work / "initrd.txt").write_text("kernel/ext4.ko.xz\n")

    with pytest.raises(BuildError, match="the initrd has no virtio_blk"):
        built.check_models()


def test_a_place_that_would_hide_files_ends_the_build(built: Build) -> None:
    (built.places.root / "var/lib/smart-meter").mkdir(parents=True)
    (built.places.root / "var/lib/smart-meter/history.db").touch()

    with pytest.raises(BuildError, match=r"(?s)not as listed.*/var/lib/smart-meter has files"):
        built.install_state()


def test_two_builds_do_not_share_a_cache(built: Build) -> None:
    with (
        built._only_build(),
        pytest.raises(BuildError, match="another build uses"),
        built._only_build(),
    ):
        pass
