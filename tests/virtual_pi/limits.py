"""What this machine's kernel counts over all virtual Pis together."""

from __future__ import annotations

from pathlib import Path

# inotify(7): instances a real user. Root of every virtual Pi is root of this machine, and a booting Pi takes
# some eight: from the 17th on, systemd had none left to watch mounts with, and mounted /tmp over itself.
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 2048


def make_room() -> None:
    """Raise what would not do for fifty Pis. It stays so until this machine boots: nobody has less of it."""
    if int(_INSTANCES.read_text()) < _ENOUGH:
        _INSTANCES.write_text(f"{_ENOUGH}\n")
