"""An image that is built on a downloaded Raspberry Pi OS Lite, or on one of that shape (make test-image).

Raspberry Pi's archive is not used here: the base is made of Debian's packages for a PC, with its partitions
and its first boot. Its kernels are stand-ins, so the result is looked at, and not booted.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.image import base, disk, models, seal, settings, sources
from tools.image.build import Build
from tools.image.ext4 import Ext4
from tools.image.settings import Settings
from tools.image.space import Space
from tools.image.state import mbr
from tools.image.steps import Steps

from tests.image import raspios
from tests.unit.tools.image.test_models import END, END_NODE, begin, blob, prop

REPOSITORY = settings.REPOSITORY
CACHE = Path(os.environ.get("CACHE", REPOSITORY / ".cache/image"))
# Some of what Raspberry Pi OS Lite has. avahi-daemon, cloud-init and so on are removed by the build.
PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "kmod", "initramfs-tools", "zstd", "sudo", "python3", "openssh-server"),
    *(
        "network-manager",
        "netplan.io",
        "cloud-init",
        "avahi-daemon",
        "dphys-swapfile",
        "systemd-zram-generator",
    ),
    *("iputils-ping", "libcap2-bin", "man-db", "bash-completion", "parted"),
)
VERSIONS = {"v8": "6.12.47+rpt-rpi-v8", "2712": "6.12.47+rpt-rpi-2712"}


def write_kernels(root: Path) -> None:
    """Write stand-ins for Raspberry Pi's two kernels: what the build looks at, and no modules."""
    for flavour, version in VERSIONS.items():
        drivers = [driver for model in models.RASPBERRY_PI[flavour] for driver in model.drivers]
        options = [*(driver.option for driver in drivers), "RD_ZSTD"]
        text = "".join(f"CONFIG_{option}=y\n" for option in options)
        trees = root / f"usr/lib/linux-image-{version}/broadcom"
        trees.mkdir(parents=True)
        (root / f"usr/lib/modules/{version}").mkdir(parents=True)
        for name in ("modules.order", "modules.builtin"):
            (root / f"usr/lib/modules/{version}" / name).touch()
        (root / "boot").mkdir(exist_ok=True)
        (root / f"boot/vmlinuz-{version}").write_text("kernel")
        (root / f"boot/config-{version}").write_text(text)
        for model in models.RASPBERRY_PI[flavour]:
            names = "".join(f"{driver.compatible}\0" for driver in model.drivers if driver.compatible)
            tree = begin("") + prop(0, names.encode()) + END_NODE + END
            (trees / model.device_tree).write_bytes(blob(tree, b"compatible\0"))


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A folder in the cache: the build space can write there only."""
    folder = CACHE / "raspios"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def downloaded(work: Path) -> Path:
    """An image of the shape of a downloaded one."""
    archive = sources.of_local_machine()
    (work / "debian.sources").write_text(sources.apt_sources(archive, Settings("amd64", "stable", 0)))
    (work / "apt.conf").write_text("".join(f"{line}\n" for line in archive.options))
    (work / "modules").touch()
    (CACHE / "packages").mkdir(exist_ok=True)
    root = work / "root"
    environment = {
        "ARCHITECTURE": "amd64",
        "PACKAGES": ",".join(PACKAGES),
        "KEYRING": sources.KEYRING,
        "TMPDIR": str(work / "tmp"),
    }
    command = [settings.FOLDER / "root.sh", root, work, CACHE / "packages"]
    Space((CACHE,), network=True).run(command, work / "log", env=environment)
    raspios.plant(root)
    write_kernels(root)
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    shadow = root / "etc/shadow"
    shadow.write_text(re.sub(r"^(pi|root):[^:]*", r"\1:$6$salt$hash", shadow.read_text(), flags=re.MULTILINE))
    firmware = work / "firmware"
    for name, text in raspios.BOOT.items():
        (firmware / name).parent.mkdir(parents=True, exist_ok=True)
        (firmware / name).write_text(text)
    image = raspios.write(root, firmware, work, 1024)
    shutil.rmtree(root)
    return image


@pytest.fixture(scope="module")
def image(downloaded: Path, work: Path) -> Path:
    """The disk that is built on it, before it is compressed."""
    made = Build(
        Settings("amd64", "stable", settings.source_epoch(), downloaded), CACHE, work / "out", Steps(10)
    )
    # Compression takes two minutes, and is the same for every image.
    made.publish = lambda image: image  # type: ignore[method-assign]
    return made.run()


@pytest.fixture(scope="module")
def root(image: Path, work: Path) -> Path:
    """The root file system of the disk."""
    entries = {entry.number: entry for entry in mbr.read(image)}
    with image.open("rb") as file:
        Ext4(file, entries[disk.ROOT_A.number].offset).extract(work / "result")
    return work / "result"


@pytest.fixture(scope="module")
def boot(image: Path, work: Path) -> Path:
    """The files of the boot partition."""
    [entry] = [entry for entry in mbr.read(image) if entry.number == disk.BOOT_A.number]
    (work / "boot").mkdir()
    raspios.run("mcopy", "-i", f"{image}@@{entry.offset}", "-s", "-Q", "::*", work / "boot")
    return work / "boot"


def xattrs(path: Path) -> dict[str, bytes]:
    return {key: os.getxattr(path, key) for key in os.listxattr(path)}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_nothing_of_the_first_boot_is_left(root: Path) -> None:
    assert list(base.first_boot_problems(root)) == []
    text = (root / "etc/fstab").read_text()
    assert "growfs" not in text
    assert "swap" not in text
    assert [line.split()[3].split(",")[0] for line in text.splitlines()] == ["ro", "ro"]
    generators = names(root / "usr/lib/systemd/system-generators")
    assert not {name for name in generators if "swap" in name or "zram" in name or "cloud" in name}


def test_nobody_can_log_in_but_with_a_key_of_a_site_card(root: Path) -> None:
    people = [
        line
        for line in (root / "etc/passwd").read_text().splitlines()
        if 1000 <= int(line.split(":")[2]) < 60000
    ]
    assert [line.split(":")[0] for line in people] == ["pi"]
    assert seal.broken(root) == []
    assert not names(root / "etc/sudoers.d") & {"010_pi-nopasswd", "90-cloud-init-users"}
    assert names(root / "home") == {"pi"}


def test_the_appliance_is_there_and_its_units_are_enabled(root: Path) -> None:
    assert (root / "usr/lib/smart-meter/image").read_text().startswith('{"name": "smart-meter-amd64-raspios"')
    assert (root / "opt/smart-meter/current").is_symlink()
    enabled = {path.name for path in root.glob("etc/systemd/system/*.wants/*") if path.is_symlink()}
    assert {
        "smart-meter.service",
        "ssh.service",
        "NetworkManager.service",
        "ufw.service",
        "getty@tty1.service",
    } <= enabled
    assert "ENABLED=yes" in (root / "etc/ufw/ufw.conf").read_text()
    assert (root / "etc/machine-id").read_bytes() == b""


def test_the_firmware_starts_raspberry_pis_kernels_with_the_appliances_initrds(
    boot: Path, image: Path
) -> None:
    for flavour, kernel, initrd in (
        ("v8", "kernel8.img", "initramfs8"),
        ("2712", "kernel_2712.img", "initramfs_2712"),
    ):
        assert (boot / kernel).read_text() == raspios.BOOT[kernel]
        # The one of the base is a few bytes.
        assert (boot / initrd).stat().st_size > 1_000_000
        packed = (image.parent / f"initrd-{flavour}.txt").read_text()
        assert "scripts/init-bottom/smart-meter-state" in packed
        assert "resize" not in packed
        assert "set_partuuid" not in packed
    assert "auto_initramfs=1" in (boot / "config.txt").read_text()
    words = (boot / "cmdline.txt").read_text().split()
    assert not [word for word in words if word.startswith(("resize", "init=", "ds=", "quiet"))]
    assert not names(boot) & {"user-data", "network-config", "meta-data", "userconf.txt"}


def test_modes_owners_and_capabilities_are_those_of_the_base(
    root: Path, downloaded: Path, work: Path
) -> None:
    entries = {entry.number: entry for entry in mbr.read(downloaded)}
    with downloaded.open("rb") as file:
        Ext4(file, entries[2].offset).extract(work / "before")
    for name in ("usr/bin/sudo", "usr/bin/ping", "usr/bin/passwd", "var/mail", "usr/sbin/unix_chkpwd", "tmp"):
        before, after = work / "before" / name, root / name
        found = [
            (stat.filemode(path.lstat().st_mode), path.lstat().st_uid, path.lstat().st_gid)
            for path in (before, after)
        ]
        assert found[0] == found[1], name
        assert xattrs(before) == xattrs(after), name
    assert (root / "usr/bin/sudo").stat().st_mode & stat.S_ISUID
