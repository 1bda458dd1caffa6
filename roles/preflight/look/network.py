"""Reads a Pi's interfaces, NetworkManager, firewall, kernel settings and port."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roles.preflight.look.commands import Command
from roles.preflight.look.reading import clean, links, matching, names_in, process_name, text_of

PROFILES = "etc/NetworkManager/system-connections"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNMANAGED = 10  # NM_DEVICE_STATE_UNMANAGED
# An earlier folder hides files of the same name in later ones: sysctl.d(5).
_SYSCTL_FOLDERS = (
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    "lib/sysctl.d",
)
_MANAGER_FOLDERS = (
    "etc/NetworkManager/conf.d",
    "run/NetworkManager/conf.d",
    "usr/lib/NetworkManager/conf.d",
)
_NETPLAN_FOLDERS = ("etc/netplan", "run/netplan", "usr/lib/netplan")
_SYSCTL_KEYS = {
    "accept_redirects",
    "accept_source_route",
    "arp_announce",
    "arp_ignore",
    "forwarding",
    "ip_forward",
    "rp_filter",
    "secure_redirects",
    "send_redirects",
    "tcp_syncookies",
}


def _terse_fields(line: str) -> list[str]:
    r"""Split a line of nmcli's terse table: `\` escapes a colon and itself."""
    fields = re.findall(r"((?:\\.|[^:\\])*):", f"{line}:")
    return [re.sub(r"\\(.)", r"\1", field) for field in fields]


def manager(general: Command) -> dict[str, Any]:
    """Return NetworkManager's state; its version is empty if it does not run."""
    fields = _terse_fields(general.lines[0]) if general.lines else []
    running, version, radio = fields if len(fields) == 3 else ("", "", "")
    return {"running": running == "running", "version": clean(version), "radio": radio == "enabled"}


def checkpoints(property_: Command) -> int:
    """Return the number of NetworkManager's checkpoints. busctl prints an array as `ao 1 "/org/..."`."""
    found = re.match(r"ao (\d{1,4})\b", property_.output)
    return int(found[1]) if found else 0


def devices(shown: Command, wanted: list[str]) -> dict[str, dict[str, Any]]:
    """Return the state of the wanted interfaces that NetworkManager knows."""
    found: dict[str, dict[str, Any]] = {}
    for block in shown.output.split("\n\n"):
        pairs = [line.partition(":")[::2] for line in block.split("\n")]
        values = {key: "" if value == "--" else clean(value) for key, value in pairs}
        name = values.get("GENERAL.DEVICE", "")
        if name in wanted:
            state = re.match(r"\d+", values.get("GENERAL.STATE", ""))
            number = int(state[0]) if state else 0
            found[name] = {
                "managed": number > _UNMANAGED,
                "state": number,
                "reason": values.get("GENERAL.REASON", ""),
                "connection": values.get("GENERAL.CONNECTION", ""),
                "uuid": matching(_UUID, values.get("GENERAL.CON-UUID", "")),
                "path": values.get("GENERAL.CON-PATH", ""),
                "addresses": [clean(value) for key, value in pairs if key.startswith("IP4.ADDRESS")],
                "gateway": values.get("IP4.GATEWAY", ""),
                "mac": values.get("GENERAL.HWADDR", "").lower(),
            }
    return found


def _keyfile(path: Path) -> dict[str, str]:
    """Return what binds a profile to an interface, and its UUID, from its file."""
    text = text_of(path)
    found = dict(re.findall(r"(?m)^(interface-name|mac-address|uuid)=(.*)$", text))
    return {key: clean(value.strip()) for key, value in found.items()}


def profiles(root: Path, listed: Command) -> list[dict[str, Any]]:
    """Return all profiles that NetworkManager has, wherever they are stored."""
    found = []
    for fields in map(_terse_fields, listed.lines):
        if len(fields) == 6:
            uuid, name, kind, autoconnect, priority, file = fields
            bound = _keyfile(root / file.lstrip("/")) if file else {}
            found.append(
                {
                    "uuid": matching(_UUID, uuid),
                    "id": clean(name),
                    "type": clean(kind),
                    "interface": bound.get("interface-name", ""),
                    "mac": bound.get("mac-address", "").lower(),
                    "autoconnect": autoconnect == "yes",
                    "priority": int(priority) if re.fullmatch(r"-?\d{1,4}", priority) else 0,
                    "file": clean(file),
                }
            )
    return found


def country(regulatory: Command) -> str:
    """Return the Wi-Fi country in force: that of a radio which manages its own, otherwise the global one."""
    found: dict[str, str] = {}
    block = ""
    for line in regulatory.lines:
        if line.startswith("phy"):
            block = "radio" if "self-managed" in line else "other"
        elif line.startswith("global"):
            block = "global"
        match = re.match(r"country ([A-Z]{2}|00):", line)
        if match:
            found.setdefault(block, match[1])
    return found.get("radio", found.get("global", ""))


def cmdline_country(words: list[str]) -> str:
    """Return the Wi-Fi country that the kernel's command line sets; it has precedence over modprobe.d."""
    found = [re.fullmatch(r"cfg80211\.ieee80211_regdom=([A-Za-z0-9]{2})", word) for word in words]
    return next((match[1] for match in found if match), "")


def interfaces(root: Path) -> list[str]:
    """Return the names of all interfaces."""
    folder = root / "sys/class/net"
    # bonding_masters is a file.
    return [clean(name) for name in names_in(folder) if (folder / name).is_dir()]


def our_profiles(root: Path) -> dict[str, str]:
    """Return the UUID in our keyfile of each zone; empty if there is none."""
    paths = {zone: root / PROFILES / f"smart-meter-{zone}.nmconnection" for zone in ("field", "control")}
    return {zone: matching(_UUID, _keyfile(path).get("uuid", "")) for zone, path in paths.items()}


def ufw(root: Path, added: Command, chain: Command) -> dict[str, Any]:
    """Return the state of the firewall, and its rules as `ufw show added` prints them."""
    defaults = text_of(root / "etc/default/ufw", follow=True)
    return {
        "installed": (root / "usr/sbin/ufw").exists(),
        "enabled": re.search(r"(?mi)^ENABLED=[\"']?yes", text_of(root / "etc/ufw/ufw.conf")) is not None,
        "active": chain.status == 0,
        "added": [clean(line) for line in added.lines if line.startswith("ufw ")],
        "defaults": [clean(line) for line in re.findall(r"(?m)^DEFAULT_\w+_POLICY=.*$", defaults)],
    }


def sysctl_files(root: Path) -> dict[str, list[list[str]]]:
    """Return, by key, each [file, value] that sets it, in the order in which systemd-sysctl applies them."""
    files: dict[str, str] = {}
    for folder in _SYSCTL_FOLDERS:
        for name in names_in(root / folder):
            if name.endswith(".conf"):
                files.setdefault(name, f"{folder}/{name}")
    found: dict[str, list[list[str]]] = {}
    for name in sorted(files):
        for line in text_of(root / files[name], follow=True).split("\n"):
            match = re.match(r"\s*-?\s*([a-z0-9][\w./*:@-]*)\s*=\s*(.*?)\s*$", line)
            if match and re.split(r"[./]", match[1])[-1] in _SYSCTL_KEYS:
                found.setdefault(clean(match[1]), []).append([clean(f"/{files[name]}"), clean(match[2])])
    return found


def unmanaged_by(root: Path, wanted: list[str]) -> dict[str, list[str]]:
    """Return, by interface, the files that may keep NetworkManager from managing it."""
    renderer = re.compile(r"(?m)^\s*renderer:\s*[\"']?networkd")
    others = [
        *_texts(root, "etc/NetworkManager/NetworkManager.conf", _leaves_devices),
        *(file for folder in _MANAGER_FOLDERS for file in _texts(root, f"{folder}/*.conf", _leaves_devices)),
        *(file for folder in _NETPLAN_FOLDERS for file in _texts(root, f"{folder}/*.yaml", renderer.search)),
    ]
    found: dict[str, list[str]] = {}
    for interface in wanted:
        # interfaces(5)
        named = re.compile(rf"(?m)^\s*(auto|allow-\S+|iface)\s+(\S+\s+)*?{re.escape(interface)}(\s|$)")
        files = [
            *_texts(root, "etc/network/interfaces", named.search),
            *_texts(root, "etc/network/interfaces.d/*", named.search),
        ]
        found[interface] = [clean(f"/{file}") for file in [*files, *others]]
    return found


def _texts(root: Path, pattern: str, is_found: Callable[[str], object]) -> list[str]:
    """Return the files that match a pattern, and whose text a function finds something in."""
    return [
        str(file.relative_to(root))
        for file in sorted(root.glob(pattern))
        if is_found(text_of(file, follow=True))
    ]


def _leaves_devices(text: str) -> bool:
    """Return whether a file of NetworkManager.conf(5) leaves devices unmanaged."""
    section = ""
    for line in text.split("\n"):
        header = re.match(r"\s*\[(.*?)\]", line)
        section = header[1] if header else section
        if re.match(r"\s*unmanaged-devices\s*\+?=\s*\S", line):
            return True
        if section.startswith("device") and re.match(r"\s*managed\s*=\s*(0|no|false|off)\s*$", line):
            return True
    return False


def holder_of_port(root: Path, port: int, *, by_socket: bool) -> str:
    """Return which process listens on a TCP port: `smart-meter`, `nginx (pid 99)`, or nobody."""
    sockets = set()
    for table in ("proc/net/tcp", "proc/net/tcp6"):
        for line in text_of(root / table).split("\n")[1:]:
            fields = line.split()
            # Documentation/networking/proc_net_tcp.rst; 0A: TCP_LISTEN.
            if len(fields) > 9 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                sockets.add(f"socket:[{fields[9]}]")
    if not sockets:
        return ""
    holders = [
        int(n) for n in names_in(root / "proc") if n.isdigit() and sockets & set(links(root / f"proc/{n}/fd"))
    ]
    ours = [
        number
        for number in holders
        if (by_socket and number == 1) or "/smart-meter.service" in text_of(root / f"proc/{number}/cgroup")
    ]
    others = [number for number in holders if number not in ours]
    if others:
        return process_name(root, others[0])
    return "smart-meter" if ours else "a process (pid 0)"
