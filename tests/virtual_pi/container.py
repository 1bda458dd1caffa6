"""What stands in for a Pi's board: systemd-nspawn, on a root file system of the Pi's own."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.virtual_pi import card, cgroups, places
from tests.virtual_pi.commands import SYSTEM_PATH, run

# systemd-nspawn's way, with --keep-unit, to say that the machine inside wants to boot again.
REBOOT = 133
_SUPERVISOR = "tests.virtual_pi.supervisor"

ENVIRONMENT = {
    "PATH": SYSTEM_PATH,
    # NetworkManager and sysctl settings need it, and it is this network namespace's alone.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    # systemd 257 boots on cgroup v2 only, also where this machine mounts v1 beside it.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
}


def mounted(lab: str, pi: str, base: Path, command: list[str]) -> list[str]:
    """Return `command` so wrapped that the Pi's root file system is mounted for it, and for no other process.

    The mounts are in a mount namespace of its own and go with its last process, so they can't be left behind;
    the loop device of the card goes with them.
    """
    disk = places.pi_disk(lab, pi)
    options = f"lowerdir={base},upperdir={disk}/card/upper,workdir={disk}/card/work"
    script = (
        'mount -t ext4 -o loop "$1" "$2" && mount -t overlay overlay -o "$0" "$3" && shift 3 && exec "$@"'
    )
    places_of_mounts = [str(card.of(lab, pi)), str(disk / "card"), str(disk / "root")]
    mount = ["sh", "-c", script, options, *places_of_mounts, *command]
    return ["unshare", "--mount", "--propagation", "slave", *mount]


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
        # CAP_BPF and bpf(): without them, IPAddressAllow= and IPAddressDeny= of a unit would be ignored.
        "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF,CAP_PERFMON",
        "--system-call-filter=bpf",
        # Nothing keeps a device that the Pi makes from being this machine's disk.
        "--drop-capability=CAP_MKNOD",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
    ]
    # The container's locks and sockets on this machine go with its mounts, too.
    private = "mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn"
    return mounted(lab, pi, base, ["sh", "-c", f'{private} && exec "$0" "$@"', *container])


def start_supervisor(lab: str, pi: str) -> None:
    """Start a supervisor that outlives this process."""
    group = cgroups.create(cgroups.of_lab(lab) / cgroups.SUPERVISORS)
    log = places.pi_state(lab, pi) / "supervisor.log"
    command = [sys.executable, "-P", "-m", _SUPERVISOR, lab, pi]
    detached = ["setsid", "--fork", "sh", "-c", 'exec "$@" >> "$0" 2>&1 < /dev/null', str(log), *command]
    repository = Path(__file__).resolve().parents[2]
    run(cgroups.joined(group, detached), env={"PATH": SYSTEM_PATH, "PYTHONPATH": str(repository)}, cwd="/")
