"""A disk that loses everything that was not flushed when its power is cut, with an ext4 file system on it.

    ext4 - loop device - nbdfuse - nbdkit with its cache filter - image in memory

The cache filter keeps written blocks until the file system flushes them, then writes them to the image.
Killing nbdkit therefore drops exactly the blocks that were not flushed: the worst that a power cut can do to
a device that honours flushes. `Cache.IGNORES_FLUSHES` is the control: a device that only reports them done.

The mounts have to be made in a mount namespace of their own, as soak/power.py does. When its last process
has ended, the kernel removes them, and with them the loop device, however the run ended.
"""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.networks import WITH_US, is_running
from tests.integration.program import PATIENCE

from soak.machine import SoakError, wait_until

PREFIX = "smart-meter-soak-power-"
"""The names of a run's folder and of its device start with this and the process ID."""
MEMORY = Path("/dev/shm")  # noqa: S108 - the image has to outlive nbdkit, not this machine
"""The folder of the runs' folders."""
_SIZE = 256 * 1024 * 1024
_PACKAGES = {"nbdkit": "nbdkit", "nbdfuse": "libnbd-bin", "mkfs.ext4": "e2fsprogs", "losetup": "mount"}
_DEVICES = ("/dev/fuse", "/dev/loop-control")
_LOOPS = Path("/sys/block")


class Cache(enum.StrEnum):
    """What the disk does with a flush; the values are nbdkit's."""

    HONOURS_FLUSHES = "writeback"
    IGNORES_FLUSHES = "unsafe"


def require_tools() -> None:
    """Raise SoakError if this machine lacks what the disk needs."""
    for command, package in _PACKAGES.items():
        if shutil.which(command) is None:
            raise SoakError(f"{command} is not installed (package {package}); run `tools/setup virtual-pi`")
    for device in _DEVICES:
        if not Path(device).exists():
            raise SoakError(f"{device} is missing: power cuts need FUSE and loop devices in the kernel")


def owner(name: str) -> int | None:
    """Return the process ID in the name of a run's folder or device; None if the name is not a run's."""
    _, found, rest = name.partition(PREFIX)
    number = rest.partition("-")[0]
    return int(number) if found and number.isdecimal() else None


@contextmanager
def work_folder() -> Iterator[Path]:
    """Create a folder in memory, and remove it at the end of the block."""
    with TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY) as folder:
        yield Path(folder)


def remove_stale_disks() -> None:
    """Detach the loop devices and remove the folders of runs that were killed."""
    for backing in _LOOPS.glob("loop*/loop/backing_file"):
        try:
            pid = owner(Path(backing.read_text().strip()).name)
        except OSError:
            continue  # Detached at this moment.
        if pid is not None and not is_running(pid):
            subprocess.run(["losetup", "--detach", f"/dev/{backing.parts[-3]}"], check=False)
    for folder in MEMORY.glob(f"{PREFIX}*"):
        pid = owner(folder.name)
        if pid is not None and not is_running(pid):
            shutil.rmtree(folder, ignore_errors=True)


class Disk:
    """The disk. `mount` is the folder of its file system while the power is on."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.mount = folder / "card"
        self.problems: list[str] = []
        """What fsck found after a power cut."""
        self._cache = cache
        self._folder = folder
        self._image = folder / "disk.img"
        self._socket = folder / "nbd.sock"
        self._exported = folder / "device"
        self._device = self._exported / folder.name
        self._processes: list[subprocess.Popen[bytes]] = []
        for path in (self.mount, self._exported):
            path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=True)

    @contextmanager
    def powered(self) -> Iterator[None]:
        """Switch the disk on, replay the journal of its file system, check it and mount it.

        At the end of the block everything is removed again, whether `cut` was called or not. Without `cut`
        the unmount flushes everything first, as a proper shutdown does.
        """
        try:
            self._start_device()
            self._mount()
            self._unmount()
            self._check()
            self._mount()
            yield
        finally:
            self._unmount()
            self._stop_device()

    def cut(self) -> None:
        """Cut the power: what was not flushed is lost, and each further write or flush fails."""
        self._processes[0].kill()
        self._processes[0].wait()

    def _start_device(self) -> None:
        self._socket.unlink(missing_ok=True)
        store = ("--filter=cache", "file", str(self._image), f"cache={self._cache}")
        # The cache is a temporary file of nbdkit's.
        self._spawn("nbdkit", "--foreground", "--unix", str(self._socket), *store)
        if not wait_until(self._socket.exists, PATIENCE):
            raise SoakError("nbdkit does not start")
        self._spawn("nbdfuse", str(self._device), "--unix", str(self._socket))
        if not wait_until(self._device.exists, PATIENCE):
            raise SoakError("nbdfuse does not start; `modprobe fuse`?")

    def _spawn(self, *command: str) -> None:
        variables = {**os.environ, "TMPDIR": str(self._folder)}
        # nbdfuse complains when its server is killed: that is the power cut.
        self._processes.append(
            subprocess.Popen([*WITH_US, *command], env=variables, stderr=subprocess.DEVNULL)
        )

    def _mount(self) -> None:
        """Mount the file system; the loop device is set to detach itself at the unmount."""
        subprocess.run(["mount", "-o", "loop", self._device, self.mount], check=True)

    def _unmount(self) -> None:
        """Unmount the file system, and wait until its loop device is detached."""
        if not self.mount.is_mount():
            return
        # Lazily, since writes that are pending at a power cut can't be completed.
        subprocess.run(["umount", "--lazy", self.mount], check=True)
        if not wait_until(lambda: not self._is_attached(), PATIENCE):
            raise SoakError("the loop device stays attached after the unmount")

    def _is_attached(self) -> bool:
        for backing in _LOOPS.glob("loop*/loop/backing_file"):
            try:
                if self._device.name in backing.read_text():
                    return True
            except OSError:
                continue  # Detached at this moment.
        return False

    def _check(self) -> None:
        """Run fsck, which changes nothing, on the unmounted file system."""
        checked = subprocess.run(
            ["fsck.ext4", "-fn", self._device], capture_output=True, text=True, check=False
        )
        if checked.returncode != 0:
            self.problems.append((checked.stdout + checked.stderr).strip()[-200:])

    def _stop_device(self) -> None:
        """Stop nbdfuse, then nbdkit."""
        # In this order: a loop device whose file has gone hangs every later look at it.
        subprocess.run(["umount", "--lazy", self._exported], check=False, stderr=subprocess.DEVNULL)
        for process in reversed(self._processes):
            process.terminate()
            process.wait(PATIENCE)
        self._processes.clear()
