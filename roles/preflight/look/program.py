"""Prints the answer as one JSON object. rules/look.py describes its fields.

Argument: a JSON object with `files`, `units`, `users`, `interfaces` (lists of texts) and `port`.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import time
from pathlib import Path
from typing import Any

from roles.preflight.look import machine, network
from roles.preflight.look.commands import SECONDS, Command, collect
from roles.preflight.look.reading import clean, fingerprint, links, names_in, text_of

LAYOUT = 1
ROOT = Path("/")
_BUS = "org.freedesktop.NetworkManager"
_DEVICE = (
    "GENERAL.DEVICE,GENERAL.HWADDR,GENERAL.STATE,GENERAL.REASON,GENERAL.CONNECTION,GENERAL.CON-UUID,"
    "GENERAL.CON-PATH,IP4"
)
_PROFILE = "UUID,NAME,TYPE,AUTOCONNECT,AUTOCONNECT-PRIORITY,FILENAME"
_COMMANDS = {
    "packages": ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\\n"),
    "manager": ("nmcli", "-t", "-f", "RUNNING,VERSION,WIFI", "general"),
    "devices": ("nmcli", "-t", "-f", _DEVICE, "device", "show"),
    "profiles": ("nmcli", "-t", "-f", _PROFILE, "connection", "show"),
    "checkpoints": ("busctl", "get-property", _BUS, f"/{_BUS.replace('.', '/')}", _BUS, "Checkpoints"),
    "country": ("iw", "reg", "get"),
    "rules": ("ufw", "show", "added"),
    "chain": ("iptables", "-w", "5", "-S", "ufw-user-input"),
}
# The units that the answer's other fields need.
_MANAGER, _JOURNAL, _SOCKET = "NetworkManager.service", "systemd-journald.service", "smart-meter.socket"
_TIME = {name: f"{name}.service" for name in ("chrony", "ntpsec", "systemd-timesyncd")}


def look(wanted: dict[str, Any], root: Path = ROOT, seconds: float = SECONDS) -> dict[str, Any]:
    """Return the answer. root: the folder that has the Pi's files; only the tests give another one."""
    runs = (root / "run/systemd/system").is_dir()
    names = list(dict.fromkeys([_MANAGER, _JOURNAL, _SOCKET, *_TIME.values(), *wanted["units"]]))
    shown = [Command(*arguments) for arguments in _ask_for_units(names, runs=runs)]
    asked = {name: Command(*arguments) for name, arguments in _COMMANDS.items()}
    # The commands run while the files are read.
    files = {path: fingerprint(root / path.lstrip("/")) for path in wanted["files"]}
    lock = machine.holder_of_dpkg(root)
    failed = collect([*shown, *asked.values()], seconds)
    units, processes = machine.units(names, shown)
    packages, unfinished = machine.packages(asked["packages"])
    updates = any(name.isdigit() for name in names_in(root / "var/lib/dpkg/updates"))
    words = text_of(root / "proc/cmdline").split()
    by_socket = units[_SOCKET][0] == "active"
    return {
        "layout": LAYOUT,
        **_system(root, runs=runs),
        "network_manager": units[_MANAGER][0],
        "connection": machine.connection(root),
        "claimed": machine.is_claimed(root),
        "login": machine.login(root),
        "users": machine.users(wanted["users"]),
        "files": files,
        "packages": sorted(packages),
        # Until a process that holds the lock ends, its packages are not completely installed, either.
        "dpkg": {"interrupted": (updates or unfinished) and not lock, "lock": lock},
        "name": machine.host_name(root),
        "zone": machine.time_zone(root),
        "units": units,
        "journal": _journal(root, processes.get(_JOURNAL, 0)),
        "nm": {
            **network.manager(asked["manager"]),
            "devices": network.devices(asked["devices"], wanted["interfaces"]),
            "profiles": network.profiles(root, asked["profiles"]),
            "unmanaged_by": network.unmanaged_by(root, wanted["interfaces"]),
            "checkpoints": network.checkpoints(asked["checkpoints"]),
        },
        "country": network.country(asked["country"]),
        "cmdline_country": network.cmdline_country(words),
        "ufw": network.ufw(root, asked["rules"], asked["chain"]),
        "root": machine.root_file_system(root, words),
        "sysctl_files": network.sysctl_files(root),
        "ipv6": (root / "proc/sys/net/ipv6/conf").is_dir() and (root / "proc/net/if_inet6").exists(),
        "time_daemon": _time_daemon(units, packages),
        "port": network.holder_of_port(root, int(wanted["port"]), by_socket=by_socket),
        "byport": machine.byport(root),
        "firmware": {"passphrase": machine.has_passphrase(root)},
        "systemd_version": _major(packages.get("systemd", "")),
        "interfaces": network.interfaces(root),
        "profiles": network.our_profiles(root),
        "failed": failed,
    }


def _ask_for_units(names: list[str], *, runs: bool) -> list[tuple[str, ...]]:
    if runs:
        return [("systemctl", "show", "-p", "Id,ActiveState,UnitFileState,MainPID", "--", *names)]
    # In a root without a running system, `show` prints nothing. Older versions print no line for a unit that
    # does not exist, so each is asked for separately.
    return [("systemctl", "is-enabled", "--", name) for name in names]


def _system(root: Path, *, runs: bool) -> dict[str, Any]:
    space = os.statvfs(root / "state" if machine.is_image(root) else root)
    return {
        "clock": time.time(),
        "user_id": os.geteuid(),
        "free_bytes": space.f_bavail * space.f_frsize,
        "reboot_required": (root / "run/reboot-required").exists(),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "machine": clean(os.uname().machine),
        "bits": struct.calcsize("P") * 8,
        "release": machine.release(root),
        "init": clean(text_of(root / "proc/1/comm").strip(), 32),
        "systemd": runs,
    }


def _journal(root: Path, process: int) -> list[str]:
    """Return the files that journald has open: where the journal really is."""
    targets = links(root / f"proc/{process}/fd") if process else []
    return [clean(target) for target in targets if target.endswith(".journal")]


def _time_daemon(units: dict[str, list[str]], packages: dict[str, str]) -> str:
    """Return the active time daemon; if none is active, the installed one. Debian allows only one."""
    active = [name for name, unit in _TIME.items() if units[unit][0] == "active"]
    return next(iter([*active, *(name for name in _TIME if name in packages)]), "")


def _major(version: str) -> int:
    found = re.match(r"\d{1,6}", version)
    return int(found[0]) if found else 0


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
