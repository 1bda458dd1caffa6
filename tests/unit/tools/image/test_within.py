"""A link in a root file system never leads the build to this machine's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tools.image import base, boot, clean, disk, install
from tools.image.process import BuildError
from tools.image.settings import Settings

SETTINGS = Settings("amd64", "stable", 0)


def remove_first_boot(root: Path) -> None:
    base.remove_first_boot(root)


def write_fstab(root: Path) -> None:
    boot.write_fstab(root, disk.Identity("inputs"))


def install_state(root: Path) -> None:
    install.install(root, SETTINGS)


STEPS: list[tuple[Callable[[Path], None], str]] = [
    (clean.clean, "var/log"),
    (clean.clean, "var/cache/apt"),
    (clean.clean, "tmp"),
    (clean.clean, "etc/ssh"),
    (clean.clean, "etc/machine-id"),
    (clean.clean, "etc/.updated"),
    (clean.clean, "var/lib/dbus"),
    (remove_first_boot, "etc/systemd/system"),
    (remove_first_boot, "etc/systemd/system/multi-user.target.wants"),
    (remove_first_boot, "var/lib/NetworkManager"),
    (remove_first_boot, "usr/lib"),
    (write_fstab, "etc/fstab"),
    (write_fstab, "boot"),
    (boot.remove_from_root, "boot"),
    (boot.remove_from_root, "boot/firmware"),
    (install_state, "usr/lib/smart-meter"),
    (install_state, "usr/lib/smart-meter/image"),
    (install_state, "etc/e2fsck.conf"),
    (install_state, "etc/systemd/system/timers.target.wants"),
    (install_state, "var/lib"),
]


@pytest.mark.parametrize(("step", "link"), STEPS)
def test_a_link_to_the_machine_is_refused_and_nothing_there_changes(
    tmp_path: Path, step: Callable[[Path], None], link: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    names = (
        *("ssh_host_rsa_key", "x.log", "machine-id", "userconf-pi/x", "vmlinuz-6", "firmware/start.elf"),
        *("apt-daily.timer", "initrd.img-6"),
    )
    for name in names:
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text("kept")
    for folder in ("etc/systemd/system", "var/lib", "usr/lib", "boot"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    is_file = Path(link).name in {"machine-id", ".updated", "fstab", "image", "e2fsck.conf"}
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    if (root / link).is_dir():
        for path in sorted((root / link).rglob("*"), reverse=True):
            path.rmdir()
        (root / link).rmdir()
    (root / link).symlink_to(outside / "machine-id" if is_file else outside)

    with pytest.raises(BuildError, match=f"^{link}.* leads outside of the root file system, to {outside}"):
        step(root)

    found = {
        str(path.relative_to(outside)): path.read_text() for path in outside.rglob("*") if path.is_file()
    }
    assert found == dict.fromkeys(names, "kept")


def test_links_inside_of_the_root_are_followed(tmp_path: Path) -> None:
    for folder in ("etc", "data/log", "var"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data/log/x.log").touch()
    (tmp_path / "var/log").symlink_to("../data/log")

    clean.clean(tmp_path)

    assert not (tmp_path / "data/log/x.log").exists()
