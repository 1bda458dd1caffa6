"""`boot`, in the initrd, mounts what changes on the card; `keys` makes SSH's host keys."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from . import boot, filesystem, keys, mounts, places
from .devices import SPARE, STATE, Disk

_FOLDER = Path("/state")
_MEMORY = Path("/run/smart-meter-image/memory")
_ERROR, _NOTICE = 3, 5  # sd-daemon(3)


def main(arguments: list[str]) -> int:
    """Run the command, and return the exit status."""
    if arguments == ["boot"]:
        return _boot()
    if arguments == ["keys"]:
        for kind in keys.make_missing(Path("/etc/ssh")):
            print(f"made the SSH host key {kind}")
        return 0
    print(__doc__, file=sys.stderr)
    return 2


def _boot() -> int:
    listed = places.read()
    mounter = boot.Mounter(_FOLDER, _mount, _unmount, _mount_memory)
    try:
        report = boot.mount_state(Disk.of_root(), (STATE, SPARE), mounter)
    except Exception as error:  # whatever it is, the Pi has to boot
        _unmount()
        _mount_memory()
        report = boot.Report("memory", why=repr(error))
    mounts.mount_all(listed, _FOLDER, _MEMORY, report.problems.append)
    try:
        if boot.make_machine_id(Path("/etc/machine-id")):
            _log(_NOTICE, "first boot: made the machine-id")
    except OSError as error:
        report.problems.append(f"no machine-id: {error}")
    boot.write_report(report)
    for line in boot.lines(report):
        _log(_ERROR, line)
    return 0


def _mount(device: Path) -> None:
    mounts.mount("-t", "ext4", "-o", filesystem.MOUNT, str(device), str(_FOLDER))


def _mount_memory() -> None:
    mounts.mount("-t", "tmpfs", "-o", "mode=755,size=30%", "state", str(_FOLDER))


def _unmount() -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["/bin/umount", "-q", str(_FOLDER)], check=False, timeout=mounts.SECONDS)


def _log(level: int, text: str) -> None:
    """Write a line to the kernel's log, which journald reads when it starts."""
    try:
        Path("/dev/kmsg").write_text(f"<{level}>smart-meter-state: {text}\n")
    except OSError:
        print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
