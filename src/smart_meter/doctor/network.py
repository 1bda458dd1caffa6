"""Judges the interfaces of the zones and the firewall. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from smart_meter.config import ZoneConfig
from smart_meter.doctor.check import AS_ROOT, PROVISION, Check, bad, ok, unknown, warning
from smart_meter.doctor.kernel import Finding

WEAK_DBM = -80
"""Below this, Wi-Fi loses packets."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this machine."""

    name: str
    up: bool
    """Whether it is administratively up."""
    carrier: bool
    """Whether it has a link: a cable with a powered device, or an access point."""
    addresses: tuple[str, ...] = ()
    """IPv4, as ADDRESS/PREFIX_LENGTH."""
    wireless: bool = False
    signal: int | None = None
    """Of Wi-Fi, in dBm."""
    blocked: bool = False
    """Whether rfkill blocks its radio."""


def judge_zone(zone: ZoneConfig, interfaces: Sequence[Interface] | None) -> Check:
    """Judge a zone's interface and address. interfaces: all of this machine's; None if not known."""
    name = f"{zone.name} zone, {zone.interface}"
    address = f"{zone.address}/{zone.network.prefixlen}"
    expected = f"up with {address}"
    if interfaces is None:
        return unknown(name, "`ip` failed", expected, f"ip -br address show {zone.interface}")
    known = {interface.name: interface for interface in interfaces}
    interface = known.get(zone.interface)
    connect = f"sudo nmcli connection up smart-meter-{zone.name}"
    if interface is None:
        there = ", ".join(sorted(known)) or "none"
        return bad(name, f"no such interface; there are: {there}", expected, f"ip -br link; then {PROVISION}")
    if interface.blocked:
        return bad(
            name,
            "its radio is blocked",
            expected,
            f"sudo rfkill unblock wifi; Wi-Fi also needs a country: {PROVISION}",
        )
    if not interface.up:
        return bad(name, "down", expected, f"sudo ip link set {zone.interface} up; {connect}")
    if not interface.carrier:
        look = (
            "nmcli device wifi list shows the access points in range"
            if interface.wireless
            else "check the cable"
        )
        return bad(name, "no link", expected, f"{look}; {connect}")
    if address not in interface.addresses:
        found = f"up with {' '.join(interface.addresses) or 'no address'}"
        elsewhere = [other.name for other in interfaces if address in other.addresses]
        if elsewhere:
            found += f"; {address} is on {elsewhere[0]}"
        return bad(name, found, expected, f"nmcli device status; {connect}")
    if interface.signal is None:
        return ok(name, f"up with {address}", expected)
    found = f"up with {address}, signal {interface.signal} dBm"
    if interface.signal < WEAK_DBM:
        wish = f"{expected}, signal {WEAK_DBM} dBm or more"
        return warning(
            name, found, wish, "move the Pi and the access point closer together, or add an antenna"
        )
    return ok(name, found, expected)


PROFILES = "/etc/NetworkManager/system-connections"
_UNMANAGED = 10  # NM_DEVICE_STATE_UNMANAGED


@dataclass(frozen=True, slots=True)
class Device:
    """An interface as NetworkManager sees it."""

    state: int
    """NMDeviceState."""
    reason: str = ""
    """Why it is in that state."""
    profile: str = ""
    """The name of the profile that runs on it; empty if there is none."""
    uuid: str = ""
    """That profile's UUID."""


def judge_profile(zone: ZoneConfig, devices: Mapping[str, Device] | None, own: str | None) -> Check:
    """Judge whether the zone's own profile runs on its interface.

    devices: by interface; None if NetworkManager does not answer. own: the UUID in the file of the zone's
    profile; empty if there is none, None if this user may not read it.
    """
    name = f"{zone.name} zone, profile"
    ours = f"smart-meter-{zone.name}"
    expected = f"{ours} on {zone.interface}"
    device = (devices or {}).get(zone.interface)
    if device is None:
        found = f"NetworkManager does not {'answer' if devices is None else f'know {zone.interface}'}"
        return unknown(name, found, expected, "systemctl status NetworkManager; nmcli device status")
    if device.state == _UNMANAGED:
        found = f"NetworkManager does not manage {zone.interface}: {device.reason}"
        fix = (
            f"sudo nmcli device set {zone.interface} managed yes; if it is unmanaged again after a restart, "
            "another program or a file under /etc/NetworkManager/conf.d excludes it"
        )
        return bad(name, found, expected, fix)
    if own == "":
        return bad(name, f"{PROFILES}/{ours}.nmconnection is missing or damaged", expected, PROVISION)
    fix = (
        f"sudo nmcli connection load {PROFILES}/{ours}.nmconnection; sudo nmcli connection up {ours}; "
        f"if NetworkManager refuses it, {PROVISION}"
    )
    if not device.uuid and not device.profile:
        return bad(name, f"no profile runs on {zone.interface}", expected, fix)
    if device.profile == ours and own not in (None, device.uuid):
        return bad(name, f"another profile named {ours} runs on {zone.interface}", expected, fix)
    if (device.profile == ours) if own is None else (device.uuid == own):
        return ok(name, expected, expected)
    return bad(name, f"{device.profile} runs on {zone.interface} instead of {ours}", expected, fix)


def judge_address(zone: ZoneConfig, others: Mapping[str, str] | None) -> Check:
    """Judge whether this Pi is the only host with its address.

    others: by address, the MAC address of another host that answers for it, empty if none does; without the
    addresses that could not be asked for. None if this user may not ask.
    """
    name = f"{zone.name} zone, address"
    expected = f"no other host has {zone.address}"
    if others is None:
        return unknown(name, "only root may ask the network", expected, AS_ROOT)
    mac = others.get(str(zone.address))
    if mac is None:
        return unknown(name, f"{zone.interface} is missing or down", expected)
    if not mac:
        return ok(name, expected, expected)
    fix = f"find the device with the MAC address {mac}, and give it another address"
    return bad(name, f"another host has {zone.address}: {mac}", expected, fix)


def judge_country(wanted: str, in_force: str, command_line: str) -> Check:
    """Judge the Wi-Fi country. command_line: the one that the kernel's command line sets, if any."""
    name = "Wi-Fi country"
    if in_force == wanted:
        return ok(name, wanted, wanted)
    fix = "iw reg get shows which radio sets its own country"
    if command_line not in ("", wanted):
        fix = f"remove cfg80211.ieee80211_regdom={command_line} from /boot/firmware/cmdline.txt, and reboot"
    return warning(name, in_force or "not known", wanted, fix)


def judge_kernel(findings: Sequence[Finding]) -> list[Check]:
    """Judge the kernel's settings for routing, redirects and filters, as `kernel.examine` found them."""
    return [
        ok(finding.name, finding.found, finding.expected)
        if finding.ok
        else bad(
            finding.name,
            finding.found,
            finding.expected,
            "sudo systemctl restart systemd-sysctl; if that does not help, another file under /etc/sysctl.d "
            f"sets {finding.key}",
        )
        for finding in findings
    ]


@dataclass(frozen=True, slots=True)
class Firewall:
    """ufw's own output."""

    status: str
    """Output of `ufw status verbose`."""
    added: str
    """Output of `ufw show added`."""
    in_force: str | None
    """Output of `iptables -S`; None if it failed. ufw's own output does not show that rules were flushed."""


def judge_firewall(
    zones: Sequence[ZoneConfig], port: int, firewall: Firewall | None, *, installed: bool
) -> list[Check]:
    """Judge whether the firewall is active and admits each zone. firewall: None if its state is not known."""
    name = "firewall"
    if not installed:
        return [bad(name, "ufw is not installed", "active", PROVISION)]
    if firewall is None:
        return [unknown(name, "only root may query ufw", "active", AS_ROOT)]
    lines = [line.strip() for line in firewall.status.splitlines()]
    if "Status: active" not in lines:
        return [bad(name, "inactive: every port is open", "active", "sudo ufw enable")]
    expected = "active, incoming denied by default"
    rules = [rule for rule in map(_rule, firewall.added.splitlines()) if rule is not None]
    default = next((line for line in lines if line.startswith("Default:")), "")
    if default and "allow (incoming)" in default:
        found = "active, incoming allowed by default"
        checks = [warning(name, found, expected, "sudo ufw default deny incoming")]
    elif firewall.in_force is None:
        found = "active; whether its rules are in force is not known: iptables -S fails"
        checks = [unknown(name, found, expected, AS_ROOT)]
    elif gone := _flushed(firewall.in_force, any_rules=bool(rules)):
        # `ufw reload` does not restore the rules of INPUT while ufw's own chains are there.
        fix = (
            "sudo sh -c 'iptables -F && (iptables -X || true) && ufw reload'; "
            "it also removes rules of other programs; "
            "if it is found again, another program changes the filter table"
        )
        checks = [bad(name, f"active, but not in force: {gone}", expected, fix)]
    else:
        checks = [ok(name, expected, expected)]
    return checks + [_judge_rules(zone, port, rules) for zone in zones]


def _flushed(in_force: str, *, any_rules: bool) -> str:
    """Return which part of ufw is missing or bypassed in the output of `iptables -S`; empty if none is."""
    lines = in_force.splitlines()
    for line in lines:
        if line == "-A INPUT -j ufw-before-input":
            break
        if line == "-A INPUT -j ACCEPT":
            return "a rule before ufw's accepts everything"
    if "-A ufw-before-input -j ACCEPT" in lines or "-A ufw-user-input -j ACCEPT" in lines:
        return "a rule among ufw's accepts everything"
    if "-P INPUT DROP" not in lines:
        return "INPUT accepts what no rule decides"
    for chain, leads_to in (("INPUT", "ufw-before-input"), ("ufw-before-input", "ufw-user-input")):
        if f"-A {chain} -j {leads_to}" not in lines:
            return f"nothing leads from {chain} to {leads_to}"
    if any_rules and not any(line.startswith("-A ufw-user-input ") for line in lines):
        return "the chain ufw-user-input is empty"
    return ""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One of ufw's rules for incoming traffic."""

    action: str
    interface: str
    source: str
    target: str
    ports: str
    protocol: str

    def covers(self, zone: ZoneConfig, port: int) -> bool:
        """Whether it applies to every client of the zone."""
        return (
            self.interface in ("", zone.interface)
            and self.protocol in ("", "tcp")
            and _has_port(self.ports, port)
            and _has_network(self.source, zone.network)
            and _has_network(self.target, IPv4Network(zone.address))
        )


def _judge_rules(zone: ZoneConfig, port: int, rules: Sequence[_Rule]) -> Check:
    name = f"firewall, {zone.name} zone"
    expected = f"{port}/tcp allowed from {zone.network} on {zone.interface}"
    # ufw applies the first rule that matches.
    decides = next((rule for rule in rules if rule.covers(zone, port)), None)
    rule = f"in on {zone.interface} from {zone.network} to {zone.address} port {port} proto tcp"
    fix = f"sudo ufw allow {rule}"
    if decides is None:
        return bad(name, "no rule allows it", expected, fix)
    if decides.action not in ("allow", "limit"):
        first = f"sudo ufw insert 1 allow {rule}"
        return bad(name, f"the first rule that applies is {decides.action}", expected, first)
    if decides.action == "limit":
        return warning(name, "allowed, but at most six connections in 30 s", expected, fix)
    return ok(name, f"{port}/tcp allowed", expected)


def _rule(line: str) -> _Rule | None:
    """Parse a line of `ufw show added`; None if it is not a rule for incoming traffic."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if len(words) < 3 or words[0] != "ufw" or words[1] == "route":
        return None
    action, rest = words[1], words[2:]
    if rest[0] == "out":
        return None
    if rest[0] in ("in", "log", "log-all"):
        rest = rest[1:]
    fields = {"on": "", "from": "any", "to": "any", "port": "", "proto": ""}
    if rest and rest[0] not in fields and rest[0] != "comment":
        # The short form: PORT or PORT/PROTOCOL.
        fields["port"], _, fields["proto"] = rest[0].partition("/")
        rest = rest[1:]
    of_source = False
    for key, value in zip(rest[::2], rest[1::2], strict=False):
        if key in ("from", "to"):
            of_source = key == "from"
        if key == "port" and of_source:
            # It restricts the client's port, so it does not cover every client.
            return None
        if key in fields:
            fields[key] = value
    return _Rule(action, fields["on"], fields["from"], fields["to"], fields["port"], fields["proto"])


def _has_port(ports: str, port: int) -> bool:
    if not ports:
        return True
    for part in ports.split(","):
        first, _, last = part.partition(":")
        if first.isdigit() and int(first) <= port <= int(last if last.isdigit() else first):
            return True
    return False


def _has_network(text: str, network: IPv4Network) -> bool:
    if text == "any":
        return True
    try:
        wider = ip_network(text, strict=False)
    except ValueError:
        return False
    return isinstance(wider, IPv4Network) and network.subnet_of(wider)
