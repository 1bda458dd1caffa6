"""The answer of a good Pi to the look, and answers that differ from it."""

from __future__ import annotations

import copy
import json
from typing import Any

from roles.preflight.rules.look import Look, read_answer

UUID = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"
WANTED: dict[str, Any] = {
    "files": ["/etc/hosts", "/etc/missing", "/etc/fifo"],
    "units": ["ssh.service"],
    "users": ["smart-meter", "nobody-knows"],
    "interfaces": ["wlan0", "eth0"],
    "port": 502,
}
GOOD: dict[str, Any] = {
    "layout": 1,
    "clock": 1_795_720_000.25,
    "user_id": 0,
    "free_bytes": 2_000_000_000,
    "network_manager": "active",
    "connection": "192.168.2.5 51234 192.168.2.100 22",
    "claimed": False,
    "users": {
        "smart-meter": ["smart-meter", "/nonexistent", "/usr/sbin/nologin", "Modbus TCP data concentrator"],
        "nobody-knows": None,
    },
    "login": {"name": "pi", "home": "/home/pi", "shell": "/bin/bash", "has_key": True},
    "files": {
        "/etc/hosts": ["0" * 64, "0644", "root", "root"],
        "/etc/missing": None,
        "/etc/fifo": "irregular",
    },
    "packages": ["libstdc++6", "network-manager", "python3"],
    "dpkg": {"interrupted": False, "lock": "apt-get (pid 812)"},
    "name": {"node": "pi-north", "hosts": "127.0.0.1\tlocalhost\n", "hostname": "pi-north"},
    "zone": "Europe/Berlin",
    "units": {"NetworkManager.service": ["active", "enabled"], "ssh.service": ["active", "enabled"]},
    "journal": ["/var/log/journal/0123/system.journal"],
    "nm": {
        "running": True,
        "version": "1.52.1",
        "radio": True,
        "devices": {
            "eth0": {
                "managed": True,
                "state": 100,
                "reason": "0 (No reason given)",
                "connection": "smart-meter-control",
                "uuid": UUID,
                "path": "/org/freedesktop/NetworkManager/ActiveConnection/3",
                "addresses": ["192.168.2.100/24"],
                "gateway": "192.168.2.1",
                "mac": "dc:a6:32:01:02:03",
            }
        },
        "profiles": [
            {
                "uuid": UUID,
                "id": 'Büro "1": ;',
                "type": "802-3-ethernet",
                "interface": "eth0",
                "mac": "",
                "autoconnect": True,
                "priority": -999,
                "file": "/etc/NetworkManager/system-connections/Büro 1.nmconnection",
            }
        ],
        "unmanaged_by": {"eth0": [], "wlan0": []},
        "checkpoints": 0,
    },
    "country": "DE",
    "cmdline_country": "",
    "ufw": {
        "installed": True,
        "enabled": True,
        "active": True,
        "added": ["ufw allow 9999/tcp comment 'é'"],
        "defaults": ['DEFAULT_INPUT_POLICY="DROP"'],
    },
    "root": {"overlay": False, "volatile": False, "why": "", "ours": False},
    "sysctl_files": {"net.ipv4.ip_forward": [["/etc/sysctl.d/zz-smart-meter.conf", "0"]]},
    "ipv6": True,
    "time_daemon": "systemd-timesyncd",
    "port": "smart-meter",
    "byport": {"502": "smart-meter"},
    "firmware": {"passphrase": False},
    "reboot_required": False,
    "python": "3.13",
    "machine": "aarch64",
    "bits": 64,
    "release": {"id": "debian", "name": "Debian GNU/Linux", "version": "13", "debian": "13.1"},
    "init": "systemd",
    "systemd": True,
    "systemd_version": 257,
    "interfaces": ["eth0", "lo", "wlan0"],
    "profiles": {"field": "", "control": UUID},
    "failed": [],
}


def answer(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the good answer with other values, by their places: `{"login.home": "/srv"}`."""
    changed = copy.deepcopy(GOOD)
    for place, value in (changes or {}).items():
        *parents, name = place.split(".")
        node = changed
        for parent in parents:
            node = node[parent]
        node[name] = value
    return changed


def look(changes: dict[str, Any] | None = None) -> Look:
    """Return the look of such an answer."""
    return read_answer(json.dumps(answer(changes)), WANTED)
