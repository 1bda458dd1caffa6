"""A downloaded Raspberry Pi OS Lite, on which an image is built instead of on Debian's packages.

Raspberry Pi's images have an MBR with two partitions: FAT with firmware and kernels, mounted at
/boot/firmware, and an ext4 root file system. At their first boot they grow the root file system to the end
of the card, ask for a user, make a swap file and run cloud-init. A built image does none of it.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.image import within
from tools.image.disk import MIB
from tools.image.ext4 import Ext4, Ext4Error
from tools.image.process import BuildError
from tools.image.settings import SUITE, disabled_units, removed_packages
from tools.image.state import mbr

FIRMWARE = Path("boot/firmware")
# The login of the fleet's inventory (customize.sh).
LOGIN = "pi"
# Of Raspberry Pi's kernels: for all models before the Pi 5, and for that.
FLAVOURS = frozenset({"v8", "2712"})
_FAT = (0x0B, 0x0C, 0x0E)
_LINUX = 0x83
_COMPRESSED = {b"\xfd7zXZ\0": "unxz --keep", b"PK\x03\x04": "unzip", b"\x1f\x8b": "gunzip --keep"}
_MACHINES = {40: "armhf", 62: "amd64", 183: "arm64"}
_DOWNLOAD = f"download Raspberry Pi OS Lite (64-bit, {SUITE}) from raspberrypi.com"
# Users from here on are people's.
_PEOPLE = range(1000, 60_000)
_INIT_LINK = re.compile(r"^[SK]\d\d(.+)$")
# What a unit or a program of the first boot leaves to be done.
_LEFTOVERS = (
    "etc/systemd/system/getty@tty1.service.d/autologin.conf",
    "etc/xdg/autostart/piwiz.desktop",
    "etc/init.d/resize2fs_once",
    "usr/lib/systemd/system-generators/rpi-swap-generator",
    "usr/lib/systemd/system-generators/zram-generator",
    "usr/bin/cloud-init",
    "usr/lib/userconf-pi",
    "var/swap",
    "etc/sudoers.d/01*",
    "etc/sudoers.d/90-cloud-init-users",
    "etc/ssh/sshd_config.d/rename_user.conf",
    "etc/netplan/*.yaml",
    "etc/cloud",
    "var/lib/cloud",
    # What its initrd and its first init do for `resize` and `init=` on the kernel's command line.
    "usr/lib/raspberrypi-sys-mods/firstboot",
    "usr/share/initramfs-tools/hooks/firstboot",
    "usr/share/initramfs-tools/hooks/imager_fixup",
    "usr/share/initramfs-tools/scripts/local-premount/firstboot",
    "usr/share/initramfs-tools/scripts/local-premount/resize_early",
    "usr/share/initramfs-tools/scripts/local-bottom/resize_late",
    "usr/share/initramfs-tools/scripts/local-bottom/set_partuuid",
    "usr/share/initramfs-tools/scripts/local-bottom/imager_fixup",
    # Wi-Fi is off until a country is set; here, it has one.
    "var/lib/NetworkManager/*",
    "var/lib/systemd/rfkill/*",
    "var/log/journal/*",
)
# What the first boot would enable.
_ENABLED = {
    "getty.target.wants/getty@tty1.service": "getty@.service",
    "multi-user.target.wants/ssh.service": "ssh.service",
    "sshd.service": "ssh.service",
}


@dataclass(frozen=True)
class Base:
    """A downloaded image. boot, root: its two partitions."""

    path: Path
    boot: mbr.Entry
    root: mbr.Entry

    def extract(self, target: Path) -> None:
        """Write its root file system into a folder, which must not exist."""
        with self.path.open("rb") as file:
            try:
                Ext4(file, self.root.offset).extract(target)
            except Ext4Error as error:
                raise BuildError(_of_root(self.path, error)) from error

    @property
    def fat(self) -> str:
        """The FAT partition, as mtools names it."""
        return f"{self.path}@@{self.boot.offset}"


def check(path: Path, architecture: str, root_mib: int) -> Base:
    """Return the downloaded image if an image can be built on it.

    root_mib: the size of the built image's root file system. Raises BuildError with the file and the fix.
    """
    try:
        base = _partitions(path)
        with path.open("rb") as file:
            try:
                system = Ext4(file, base.root.offset)
                problem = next(_problems(system, architecture, root_mib), None)
            except Ext4Error as error:
                raise BuildError(_of_root(path, error)) from error
    except OSError as error:
        raise BuildError(f"image_base: {path} can't be read: {error.strerror}; {_DOWNLOAD}") from error
    if problem:
        raise BuildError(f"image_base: {path} {problem}")
    return base


def _partitions(path: Path) -> Base:
    with path.open("rb") as file:
        head = file.read(512)
    for magic, command in _COMPRESSED.items():
        if head.startswith(magic):
            raise BuildError(f"image_base: {path} is compressed: unpack it first ({command} {path})")
    try:
        found = {entry.number: entry for entry in mbr.read(path)}
    except ValueError as error:
        raise BuildError(f"image_base: {path} is not the image of a disk ({error}): {_DOWNLOAD}") from error
    boot, root = found.get(1), found.get(2)
    if boot is None or boot.type not in _FAT:
        raise BuildError(f"image_base: {path} has no FAT as its first partition: {_DOWNLOAD}")
    if root is None or root.type != _LINUX:
        raise BuildError(f"image_base: {path} has no root file system as its second partition: {_DOWNLOAD}")
    if others := sorted(set(found) - {1, 2}):
        raise BuildError(f"image_base: {path} has more partitions than two ({others}): {_DOWNLOAD}")
    missing = max(boot.end, root.end) - path.stat().st_size
    if missing > 0:
        raise BuildError(
            f"image_base: {path} is not complete, {missing} bytes are missing: download it again, and "
            "compare its SHA-256"
        )
    return Base(path, boot, root)


def _problems(system: Ext4, architecture: str, root_mib: int) -> Iterator[str]:
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', _text(system, "usr/lib/os-release"), re.MULTILINE))
    suite = release.get("VERSION_CODENAME")
    if suite is None:
        yield f"has no Debian in its second partition: {_DOWNLOAD}"
    machine = _machine(system)
    if machine != architecture:
        yield f"is for {machine}, not for {architecture}: {_DOWNLOAD}"
    if suite != SUITE:
        yield f"is {suite}, not {SUITE}: {_DOWNLOAD}"
    if missing := sorted(FLAVOURS - set(kernels_in(system.names("boot")))):
        yield f"has no kernel {' and no kernel '.join(f'rpi-{name}' for name in missing)}: {_DOWNLOAD}"
    if system.names("usr/share/xsessions") or system.names("usr/share/wayland-sessions"):
        yield "has a desktop: use Raspberry Pi OS Lite"
    if used := next(_used(system), None):
        yield f"is of a card that has started ({used}): use the image as it was downloaded"
    if system.used > root_mib * MIB:
        used_mib = system.used // MIB
        yield f"is too large: {used_mib} MiB of {root_mib} for the root file system; use the Lite image"


def _used(system: Ext4) -> Iterator[str]:
    if _text(system, "etc/machine-id").strip() not in ("", "uninitialized"):
        yield "it has a machine-id"
    for name in system.names("etc/ssh"):
        if name.startswith("ssh_host_"):
            yield "it has SSH host keys"
    if system.names("var/lib/cloud/instances"):
        yield "cloud-init has run"


def kernels_in(names: list[str]) -> dict[str, str]:
    """Return the version of each of Raspberry Pi's kernels among the names in /boot, by its flavour."""
    found = (re.fullmatch(r"vmlinuz-(\S+-rpi-(v8|2712))", name) for name in names)
    return {match[2]: match[1] for match in found if match}


def lost_kernels(root: Path) -> Iterator[str]:
    """Yield each kernel that is not in the root file system, for example because its package was removed."""
    found = kernels_in([path.name for path in (root / "boot").iterdir()])
    yield from (f"the kernel rpi-{name} was removed" for name in sorted(FLAVOURS - set(found)))


def _text(system: Ext4, name: str) -> str:
    return (system.read(name) or b"").decode(errors="replace")


def _machine(system: Ext4) -> str:
    head = system.read("usr/bin/dpkg") or b""
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return "an unknown processor"
    return _MACHINES.get(struct.unpack_from("<H", head, 18)[0], "another processor")


def _of_root(path: Path, error: Ext4Error) -> str:
    return f"image_base: the root file system of {path} {error}: use the image as it was downloaded"


def remove_first_boot(root: Path) -> None:
    """Remove from a root file system what Raspberry Pi OS does at its first boot.

    Raises BuildError if a link leads out of the root.
    """
    for path in [*_enabled(root), *_left(root)]:
        within.entry(root, path)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for link, unit in _ENABLED.items():
        path = within.entry(root, root / "etc/systemd/system" / link)
        path.parent.mkdir(exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(f"/usr/lib/systemd/system/{unit}")


def first_boot_problems(root: Path) -> Iterator[str]:
    """Yield what is left that grows the root, makes swap, asks for a user or lets one in."""
    yield from (f"{path.relative_to(root)} is enabled" for path in _enabled(root))
    yield from (f"{path.relative_to(root)} is there" for path in _left(root))
    for line in (root / "etc/passwd").read_text(encoding="utf-8").splitlines():
        name, _, number, *_ = line.split(":")
        if int(number) in _PEOPLE and name != LOGIN:
            yield f"etc/passwd: the user {name}"
    status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    installed = set(re.findall(r"^Package: (\S+)\nStatus: install ok installed$", status, re.MULTILINE))
    yield from (f"the package {name} is installed" for name in removed_packages() if name in installed)


def _enabled(root: Path) -> list[Path]:
    """Return the links that enable a unit of the first boot, also those of init scripts."""
    units = set(disabled_units())
    # A link whose target only exists inside of the root is not found by its name (pathlib's glob).
    links = [*root.glob("etc/systemd/system/*/*"), *root.glob("etc/rc?.d/*")]
    return sorted(path for path in links if _INIT_LINK.sub(r"\1.service", path.name) in units)


def _left(root: Path) -> list[Path]:
    found = []
    for pattern in _LEFTOVERS:
        folder, _, name = pattern.rpartition("/")
        found += [path for path in sorted((root / folder).glob("*")) if path.match(name)]
    return found
