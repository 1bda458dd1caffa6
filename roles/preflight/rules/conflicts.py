"""What others have set up on a Pi that provisioning can't work beside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from roles.preflight.rules.look import Look
from roles.preflight.rules.problem import Problem, Values, integer, problem

SETTINGS_FILE = "/etc/sysctl.d/zz-smart-meter.conf"
"""The kernel's settings of the appliance. systemd-sysctl applies the files by name, whatever their folder."""

# What these keys under net.ipv4 and net.ipv6 have to be, by their last part.
_RIGHT = {
    "ip_forward": "0",
    "forwarding": "0",
    "accept_redirects": "0",
    "accept_source_route": "0",
    "send_redirects": "0",
    "rp_filter": "1",
}
_UNMANAGED = 10  # NM_DEVICE_STATE_UNMANAGED
_NO_INTERFACE = ("all", "default", "*")


def conflicts(look: Look, values: Values) -> Iterator[Problem]:
    """Yield what keeps the Pi from being provisioned, each with its fix."""
    yield from _check_root(look)
    yield from _check_managed(look, values)
    yield from _check_ssh_port(look, values)
    yield from _check_port(look, values)
    yield from _check_time(look, values)
    yield from (Problem((), message) for message in sorted({*_check_kernel(look, values)}))


def _check_root(look: Look) -> Iterator[Problem]:
    if look.root.volatile and look.root.ours:
        fix = "replace the card (sudo smart-meter doctor shows more), and provision it again"
        yield Problem((), f"loses all changes at the next restart: {look.root.why}; {fix}")
    elif look.root.volatile:
        fix = "sudo raspi-config nonint disable_overlayfs, restart it, and provision it again"
        yield Problem((), f"loses all changes at the next restart: / is {_why_volatile(look)}; {fix}")


def _why_volatile(look: Look) -> str:
    return f"an overlay in memory ({look.root.why})" if look.root.overlay else look.root.why


def _check_managed(look: Look, values: Values) -> Iterator[Problem]:
    for zone in ("field", "control"):
        name = f"network_{zone}_interface"
        interface = str(values.get(name, ""))
        device = look.nm.devices.get(interface)
        if device is None or device.state != _UNMANAGED:
            continue
        files = look.nm.unmanaged_by.get(interface, [])
        if files:
            why, fix = f"by {', '.join(files)}", "remove it there, and restart the Pi"
        else:
            why, fix = device.reason or "no reason given", f"sudo nmcli device set {interface} managed yes"
        yield problem(name, f"NetworkManager does not manage {interface} ({why}); {fix}")


def _check_ssh_port(look: Look, values: Values) -> Iterator[Problem]:
    """Check that the firewall will admit the port that this connection came in at."""
    configured = integer(values, "firewall_ssh_port")
    if not look.connection or configured is None:
        return
    port = look.connection.split(" ")[3]
    rules = values.get("firewall_extra_rules")
    further = {str(rule.get("port")) for rule in rules if isinstance(rule, dict)} if rules else set()
    if port not in {str(configured), *further}:
        found = f"this controller connects to the Pi's port {port}, and the firewall would admit {configured}"
        yield problem("firewall_ssh_port", f"{found}; set firewall_ssh_port: {port}")


def _check_port(look: Look, values: Values) -> Iterator[Problem]:
    port = values.get("concentrator_port")
    # Between two reads of the look, a process may end: then nobody is known to hold the port.
    if look.port not in ("", "smart-meter") and not look.port.endswith("(pid 0)"):
        fix = "stop it and disable its unit, or give the concentrator another port"
        yield problem("concentrator_port", f"port {port} is taken by {look.port}; {fix}")


def _check_time(look: Look, values: Values) -> Iterator[Problem]:
    """Check the time servers: those of the inventory are only for systemd-timesyncd."""
    daemon = look.time_daemon
    if daemon in ("chrony", "ntpsec") and values.get("appliance_ntp_servers"):
        fix = {
            "chrony": "put the servers into a file in /etc/chrony/sources.d on the Pi and leave this empty",
            "ntpsec": "put the servers into /etc/ntpsec/ntp.conf on the Pi and leave this empty",
        }[daemon]
        message = (
            f"{daemon} sets this Pi's clock, and these servers are for systemd-timesyncd; {fix}, or sudo"
        )
        yield problem("appliance_ntp_servers", f"{message} apt purge {daemon}")


def _check_kernel(look: Look, values: Values) -> Iterator[str]:
    """Check that no file overrides the kernel's settings of the appliance."""
    zones = [values.get(f"network_{zone}_interface") for zone in ("field", "control")]
    for key, settings in look.sysctl_files.items():
        parts = _parts(key)
        interface = parts[-2] if parts[-3:-2] == ["conf"] else ""
        right = _RIGHT.get(parts[-1])
        if right is None or (parts[-1] == "rp_filter" and interface not in ("all", *zones)):
            # A zone's filter is the larger of its own value and that of all.
            continue
        # A setting of one interface has precedence over the appliance's for all of them, in whatever order.
        named = interface not in ("", *_NO_INTERFACE) and parts[-1] != "rp_filter"
        for file, value in settings:
            later = PurePosixPath(file).name > PurePosixPath(SETTINGS_FILE).name
            if value != right and file != SETTINGS_FILE and (later or named):
                how = "after the appliance's settings" if later else "for one interface"
                yield f"{file} sets {key} = {value} {how}, which overrides them; remove that line"


def _parts(key: str) -> list[str]:
    """Split a key as sysctl.d(5) does: by whichever of dot and slash comes first."""
    first = re.search(r"[./]", key)
    return key.split(first[0]) if first else [key]
