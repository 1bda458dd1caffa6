"""Kernel limits of this machine that all virtual Pis share."""

from __future__ import annotations

from pathlib import Path

# inotify(7): the limit of instances per real user. Root of every virtual Pi is root of this machine, and a
# booting Pi takes about eight. From the 17th Pi on, systemd could not watch mounts and mounted /tmp twice.
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 2048


def raise_inotify_limit() -> None:
    """Allow enough inotify instances for fifty Pis. The limit stays raised until this machine restarts."""
    if int(_INSTANCES.read_text()) < _ENOUGH:
        _INSTANCES.write_text(f"{_ENOUGH}\n")
