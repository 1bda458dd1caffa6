"""Runs a command in a build space: what `space` starts inside the new namespaces.

Everything of this machine is read-only there but the folders named with --writable. The kernel's settings
are, too: most of them belong to no namespace. Disks and the sockets of services are not there.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# linux/mount.h, linux/fcntl.h; the number is the same on all architectures.
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY = 1
_MS_BIND, _MS_REC = 0x1000, 0x4000
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Services have sockets there as well as in /run.
_HIDDEN = ("/tmp", "/var/tmp", "/var/lib", "/var/snap")  # noqa: S108 - nothing is written to them
# mmdebstrap reads this machine's architectures and settings of apt.
_KEPT = ("/var/lib/dpkg", "/var/lib/apt")
_RESOLVER = Path("/etc/resolv.conf")
# ELF, 64 bits, little-endian, an executable or a library for AArch64 (machine 183), as in QEMU's own list.
_AARCH64 = (
    r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{}:F"
)
# A Pi 3's processor, the oldest of the promised models: a program that needs more fails in the build. QEMU's
# default has pointer authentication, which all of Debian's functions use, and which is slow to emulate.
_PROCESSOR = "cortex-a53"


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def main(arguments: Sequence[str]) -> None:
    """Prepare the mounts, and run the command in place of this program."""
    parser = argparse.ArgumentParser(prog="inside")
    parser.add_argument("--writable", type=Path, action="append", default=[])
    parser.add_argument("--emulator", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    _mount("-t", "proc", "proc", "/proc")
    _hide_services()
    _hide_folders([*options.writable, Path.cwd(), Path(sys.prefix), Path(sys.base_prefix), *map(Path, _KEPT)])
    _make_devices(Path("/dev"))
    for folder in options.writable:
        _mount("--bind", str(folder), str(folder))
    _set_read_only("/", True)
    for folder in (*map(str, options.writable), "/dev/shm", "/dev/pts"):  # noqa: S108 - of this namespace
        _set_read_only(folder, False)
    if options.emulator:
        _emulate(options.emulator)
    if options.root:
        _prepare_chroot(options.root)
        if options.emulator:
            _replace_iptables(options.root / "usr/sbin")
    os.execvp(options.command[0], options.command)  # noqa: S606


def _prepare_chroot(root: Path) -> None:
    _mount("-t", "proc", "proc", str(root / "proc"))
    settings = str(root / "proc/sys")
    _mount("--bind", settings, settings)
    _set_read_only(settings, True)
    for name, mode in (("run", "755"), ("tmp", "1777")):
        _mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", str(root / name))
    _make_devices(root / "dev")


def _make_devices(folder: Path) -> None:
    """Mount a folder with the devices that every program may use; there are no disks in it."""
    # They are opened before the folder is hidden, which may be the one that they are in.
    opened = {name: os.open(f"/dev/{name}", os.O_PATH) for name in _DEVICES}
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
    for name, device in opened.items():
        (folder / name).touch()
        _bind(f"/proc/self/fd/{device}", str(folder / name))
        os.close(device)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (folder / name).symlink_to(f"/proc/self/{target}")
    for name in ("shm", "pts"):
        (folder / name).mkdir()
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(folder / "shm"))
    _mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620", "devpts", str(folder / "pts"))
    (folder / "ptmx").symlink_to("pts/ptmx")


def _hide_services() -> None:
    """Mount an empty /run, with the list of name servers if it is in there."""
    resolver = _RESOLVER.resolve()
    text = resolver.read_bytes() if resolver.is_file() else b""
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    if resolver.is_relative_to("/run"):
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.write_bytes(text)


def _hide_folders(kept: Sequence[Path]) -> None:
    """Mount an empty folder over each of _HIDDEN, but for the folders that are kept below them."""
    current = Path.cwd()
    paths = sorted({path for each in kept for path in (each, each.resolve()) if path.is_dir()})
    for folder in sorted({Path(name).resolve() for name in _HIDDEN if Path(name).is_dir()}):
        if any(folder.is_relative_to(path) for path in paths):
            # What contains it is the build's own.
            continue
        opened = {path: os.open(path, os.O_PATH) for path in paths if path.is_relative_to(folder)}
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
        for path, file in opened.items():
            # One inside another one is there already.
            if not path.is_dir():
                path.mkdir(parents=True)
                _bind(f"/proc/self/fd/{file}", str(path), _MS_REC)
            os.close(file)
    os.chdir(current)


def _replace_iptables(folder: Path) -> None:
    """Let ufw get the version of iptables, for which iptables-nft opens a socket that QEMU lacks."""
    # A downloaded base gets iptables later.
    if (folder / "xtables-legacy-multi").exists():
        _mount("--bind", str(folder / "xtables-legacy-multi"), str(folder / "xtables-nft-multi"))


def _emulate(emulator: Path) -> None:
    """Run programs for arm64 with `emulator`, in this namespace only (Linux 6.7 or newer)."""
    folder = "/proc/sys/fs/binfmt_misc"
    _mount("-t", "binfmt_misc", "binfmt_misc", folder)
    (Path(folder) / "register").write_text(_AARCH64.format(emulator))
    os.environ["QEMU_CPU"] = _PROCESSOR


def _set_read_only(path: str, value: bool) -> None:
    """Make a mount read-only, or writable, with all mounts below it."""
    change = _MountAttr(**{"attr_set" if value else "attr_clr": _MOUNT_ATTR_RDONLY})
    library = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(ctypes.sizeof(change))
    if library.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, ctypes.byref(change), size
    ):
        raise OSError(ctypes.get_errno(), f"{path} can't be made {'read-only' if value else 'writable'}")


def _bind(source: str, target: str, flags: int = 0) -> None:
    """Bind-mount without resolving links of /proc, which mount(8) would do."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(source.encode(), target.encode(), None, _MS_BIND | flags, None):
        raise OSError(ctypes.get_errno(), f"{source} can't be mounted at {target}")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
