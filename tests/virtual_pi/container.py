"""Stands in for a Pi's board: systemd-nspawn with a root file system for each Pi."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.virtual_pi import card, cgroups, places
from tests.virtual_pi.commands import SYSTEM_PATH, run

# The exit status of systemd-nspawn --keep-unit when the machine inside reboots.
REBOOT = 133
_SUPERVISOR = "tests.virtual_pi.supervisor"

ENVIRONMENT = {
    "PATH": SYSTEM_PATH,
    # NetworkManager and sysctl settings need it. It only affects the Pi's network namespace.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    # systemd 257 boots on cgroup v2 only, even if this machine also mounts v1.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
}


def mounted(lab: str, pi: str, base: Path, command: list[str]) -> list[str]:
    """Return `command` wrapped so that it sees the Pi's root file system, which no other process does.

    It is mounted in a separate mount namespace, which ends with its last process. So neither the mounts nor
    the card's loop device can be left behind.
    """
    disk = places.pi_disk(lab, pi)
    options = f"lowerdir={base},upperdir={disk}/card/upper,workdir={disk}/card/work"
    script = (
        'mount -t ext4 -o loop "$1" "$2" && mount -t overlay overlay -o "$0" "$3" && shift 3 && exec "$@"'
    )
    arguments = [str(card.image(lab, pi)), str(disk / "card"), str(disk / "root")]
    mount = ["sh", "-c", script, options, *arguments, *command]
    return ["unshare", "--mount", "--propagation", "slave", *mount]


# $1: the Pi's root file system, $2: a name server, the others: a command. The kernel's settings are
# read-only, since most of them belong to no namespace. The mounts end with their namespace.
_PREPARE = """
set -eu
root=$1
mount -t proc proc /proc
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t tmpfs tmpfs "$root/run"
echo "nameserver $2" > "$root/run/resolv.conf"
[ -e "$root/etc/resolv.conf" ] || : > "$root/etc/resolv.conf"
mount --bind "$root/run/resolv.conf" "$root/etc/resolv.conf"
shift 2
exec "$@"
"""


def prepare_command(lab: str, pi: str, base: Path, name_server: str, command: list[str]) -> list[str]:
    """Return `command` wrapped so that it sees the root file system of a Pi that is off, ready for a chroot.

    It has process and mount namespaces and a host name of its own. The network is the caller's.
    """
    root = str(places.pi_disk(lab, pi) / "root")
    prepared = ["sh", "-c", _PREPARE, "prepare", root, name_server, *command]
    return mounted(lab, pi, base, ["unshare", "--uts", "--pid", "--fork", "--kill-child", *prepared])


def boot_command(lab: str, pi: str, base: Path) -> list[str]:
    container = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={places.pi_disk(lab, pi) / 'root'}",
        f"--machine={places.machine(lab, pi)}",
        "--hostname=raspberrypi",
        "--register=no",
        "--keep-unit",
        f"--network-namespace-path=/run/netns/{places.namespace(lab, pi)}",
        # Without CAP_BPF and bpf(), IPAddressAllow= and IPAddressDeny= of a unit would be ignored.
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF,CAP_PERFMON",
        "--system-call-filter=bpf",
        # A device node that the Pi makes could be this machine's disk.
        "--drop-capability=CAP_MKNOD",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
    ]
    # So that the container's locks and sockets on this machine also disappear with its mounts.
    private = "mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn"
    return mounted(lab, pi, base, ["sh", "-c", f'{private} && exec "$0" "$@"', *container])


def start_supervisor(lab: str, pi: str) -> None:
    """Start a supervisor that continues after this process has ended."""
    group = cgroups.create(cgroups.of_lab(lab) / cgroups.SUPERVISORS)
    log = places.pi_state(lab, pi) / "supervisor.log"
    command = [sys.executable, "-P", "-m", _SUPERVISOR, lab, pi]
    detached = ["setsid", "--fork", "sh", "-c", 'exec "$@" >> "$0" 2>&1 < /dev/null', str(log), *command]
    repository = Path(__file__).resolve().parents[2]
    run(cgroups.in_group(group, detached), env={"PATH": SYSTEM_PATH, "PYTHONPATH": str(repository)}, cwd="/")
