"""Checks a card as a whole: each text by its own form, and the texts with each other. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from smart_meter.config import Config, ConfigError, loads
from smart_meter.config.toml_table import Problem, show
from smart_meter.site_card import firewall, keyfile
from smart_meter.site_card.card import MAKE_AGAIN, NAME, PASSWORD, Card, CardError
from smart_meter.site_card.forms import FORMS
from smart_meter.site_card.places import (
    BY_KEY,
    CONFIG,
    HOST_NAME,
    PROFILES,
    SERVICE,
    SOCKET,
    SSHD,
    TOGETHER,
    WIFI_UNIT,
    masked,
)

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\n")
_SSHD_LINE = re.compile(
    r"|PasswordAuthentication no|KbdInteractiveAuthentication no|PermitRootLogin (?:no|prohibit-password)"
    r"|AllowUsers [a-z_][a-z0-9_.-]{0,31}(?: [a-z_][a-z0-9_.-]{0,31}){0,30}|MaxAuthTries 3|LoginGraceTime 30"
    r"|DisableForwarding yes|AllowTcpForwarding (?:no|local)|AllowAgentForwarding no|X11Forwarding no"
    r"|AllowStreamLocalForwarding no|PermitTunnel no|GatewayPorts no|#.*"
    r"|ChannelTimeout session:shell=\d{1,6}m"
)
_USERS = re.compile(r"^AllowUsers (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Checked:
    """A card whose texts are valid, and what was read from them."""

    card: Card
    config: Config
    profiles: tuple[keyfile.Profile, ...]


def check(card: Card) -> Checked:
    """Return a valid card. Raises CardError with every problem at once."""
    problems: list[Problem] = []

    def problem(key: str, message: str) -> None:
        problems.append(Problem(NAME, key, message if ";" in message else f"{message}; {MAKE_AGAIN}"))

    _check_forms(card, problem)
    if not _LABEL.fullmatch(card.files[HOST_NAME]):
        problem(f"files.{HOST_NAME}", f"{show(card.files[HOST_NAME].strip())} is not a host name")
    for keys in TOGETHER:
        found = [key for key in keys if key in card.files]
        if found and len(found) < len(keys):
            missing = ", ".join(f"files.{key}" for key in keys if key not in found)
            problem(f"files.{found[0]}", f"is there without {missing}")
    profiles = [_profile(card, zone, problem) for zone in PROFILES]
    config = _config(card, problems)
    valid = [profile for profile in profiles if profile is not None]
    if len(valid) == len(profiles):
        if any(profile.wifi for profile in valid) != (WIFI_UNIT in card.files):
            problem(f"files.{WIFI_UNIT}", "does not fit the zones' profiles: it is for a zone with Wi-Fi")
        if valid[0].interface == valid[1].interface or valid[0].address.network.overlaps(
            valid[1].address.network
        ):
            problem(f"files.{PROFILES['control']}", "has the interface or the network of the field zone")
        if config is not None:
            for message in _zones(config, valid):
                problem(f"files.{CONFIG}", message)
    _check_login(card, problem)
    _check_firewall(card, config, problem)
    if problems or config is None:
        raise CardError(problems)
    return Checked(card, config, tuple(valid))


def _check_forms(card: Card, problem: Callable[[str, str], None]) -> None:
    """Report each text that is not one of its template's."""
    for key, text in card.files.items():
        place = BY_KEY[key]
        if place.masks is not None and masked(place, text) not in FORMS[key]:
            problem(f"files.{key}", "is not a text that this release's template can make")
    socket = "Requires=smart-meter.socket\n" in card.files[SERVICE]
    if socket != (SOCKET in card.files):
        problem(f"files.{SOCKET}", f"does not fit files.{SERVICE}: both are for one way to the port")


def _profile(card: Card, zone: str, problem: Callable[[str, str], None]) -> keyfile.Profile | None:
    key = PROFILES[zone]
    return keyfile.read(card.files[key], zone, lambda name, message: problem(f"files.{key}.{name}", message))


def _config(card: Card, problems: list[Problem]) -> Config | None:
    try:
        return loads(card.files[CONFIG], NAME)
    except ConfigError as error:
        problems += [each._replace(key=f"files.{CONFIG}.{each.key}") for each in error.problems]
    return None


def _zones(config: Config, profiles: list[keyfile.Profile]) -> Iterator[str]:
    """Yield what differs between the service's zones and the profiles of their interfaces."""
    for profile in profiles:
        for zone in config.zones:
            if zone.interface != profile.interface:
                continue
            if zone.address != profile.address.ip or zone.network != profile.address.network:
                yield (
                    f"zone {zone.name} has {zone.address} in {zone.network}, and the profile of its "
                    f"interface {profile.interface} has {profile.address}"
                )


def _check_login(card: Card, problem: Callable[[str, str], None]) -> None:
    text = card.files.get(SSHD)
    if text is None:
        if not card.keys and PASSWORD not in card.secrets:
            problem("login.keys", "is empty, and there is no password either: nobody could log in")
        return
    for line in text.split("\n"):
        if not _SSHD_LINE.fullmatch(line):
            problem(f"files.{SSHD}", f"{show(line)} is not a line of the appliance's settings for SSH")
    users = _USERS.search(text)
    if not users or card.user not in users[1].split():
        problem(f"files.{SSHD}", f"does not let the user {show(card.user)} of login.user log in")
    if not card.keys:
        problem("login.keys", "is empty, and SSH accepts only keys: nobody could log in")


def _check_firewall(card: Card, config: Config | None, problem: Callable[[str, str], None]) -> None:
    valid = []
    for number, line in enumerate(card.firewall):
        if fault := firewall.fault(line):
            problem(f"firewall[{number}]", f"{show(line)} {fault}")
        else:
            valid.append(line)
    if config is None or len(valid) < len(card.firewall):
        return
    port = config.server.port
    for zone in config.zones:
        if not any(firewall.admits(line, port) and _is_from(line, str(zone.network)) for line in valid):
            problem(
                "firewall",
                f"has no rule that admits {zone.network} to port {port}, which zone {zone.name} needs",
            )


def _is_from(line: str, network: str) -> bool:
    found = firewall.RULE.match(line)
    if found is None:
        return False
    if found["source"] == "any":
        return True
    source, wanted = ip_network(found["source"]), ip_network(network)
    return source.version == wanted.version and wanted.subnet_of(source)  # type: ignore[arg-type]  # the same version
