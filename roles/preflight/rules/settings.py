"""Host name, time zone, intervals: settings of one Pi that are neither network nor secret."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from functools import cache

from roles.preflight.rules.networks import is_host, is_host_name
from roles.preflight.rules.problem import Problem, Values, integer, near, problem, show, text, texts

# (lowest, highest, reason) of each number.
_RANGES = {
    "appliance_watchdog_seconds": (
        0,
        15,
        "a Pi's watchdog counts 15 at most; 0 keeps the distribution's time",
    ),
    "appliance_ssh_idle_minutes": (0, 1440, "it is counted in minutes, and 0 never ends a shell"),
    "concentrator_restart_seconds": (0, 300, "the service has to restart by itself"),
    "concentrator_watchdog_seconds": (1, 600, "the service feeds its watchdog twice in that time"),
    "concentrator_releases_kept": (1, 100, "the running release stays"),
    "concentrator_claim_seconds": (300, 7200, "one step of a slow Pi may take minutes"),
    "concentrator_claim_patience": (0, 7200, "another run may take minutes"),
    "network_confirm_seconds": (45, 900, "the controller needs some 30 s to connect again"),
    "firewall_confirm_seconds": (30, 900, "the controller needs some seconds to connect again"),
    "network_conflict_milliseconds": (0, 30000, "activation waits for it"),
    "preflight_reach_seconds": (2, 120, "an address that does not answer takes that long"),
}
# Places that the unit can make writable, that survive a reboot, with a folder for such a file only.
_DATA = re.compile(r"/(?:var/lib|srv|mnt|media)(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*){2,}")
# The names that /etc/hosts of Debian has for this machine and for groups of machines.
_HOSTS = {"localhost", "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters", "broadcasthost"}
_NUMBER = re.compile(r"[0-9.]*[0-9]|0[xX][0-9A-Fa-f]+")  # inet_aton(3): 12 is 0.0.0.12
_SIZE = re.compile(r"[1-9][0-9]*[KMGT]?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")  # useradd(8); sshd would take other characters as patterns.
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def check_settings(values: Values) -> Iterator[Problem]:
    """Check the settings whose form or range is narrower than their type."""
    yield from _check_host_name(values)
    yield from _check_time_zone(values)
    for key, server in texts(values, "appliance_ntp_servers"):
        if not is_host(server):
            yield Problem(key, f"{show(server)} is neither a host name nor an address; give a time server")
    for key, user in texts(values, "appliance_ssh_users"):
        if not _USER.fullmatch(user):
            yield Problem(key, f"{show(user)} is not a user's name; give one such as pi")
    size = values.get("appliance_journal_max_use")
    if isinstance(size, str) and not _SIZE.fullmatch(size):
        yield problem("appliance_journal_max_use", f"{show(size)} is not a size; give one such as 1G")
    reboot = text(values, "appliance_unattended_reboot_time")
    if reboot and not _TIME.fullmatch(reboot):
        message = f"{show(reboot)} is not a time of day; give HH:MM, such as 03:30, or leave it empty"
        yield problem("appliance_unattended_reboot_time", message)
    yield from _check_path(values, "history", "the history")
    yield from _check_path(values, "events", "the audit trail")
    for name, (low, high, why) in _RANGES.items():
        value = integer(values, name)
        if value is not None and not low <= value <= high:
            yield problem(name, f"{value} is out of range; give {low} to {high}: {why}")
    if values.get("appliance_watchdog_off") is True and integer(values, "appliance_watchdog_seconds"):
        message = "contradicts appliance_watchdog_seconds; leave one of them out"
        yield problem("appliance_watchdog_off", message)


def _check_host_name(values: Values) -> Iterator[Problem]:
    name = values.get("appliance_hostname")
    if not isinstance(name, str):
        return
    label = name.split(".", maxsplit=1)[0]
    if _NUMBER.fullmatch(name):
        wrong = "is read as an address"
        fix = "give a name with a letter, such as pi-12"
    elif "." in name and is_host_name(name):
        wrong = "has a dot, and a Pi's own name has no domain"
        fix = f"give its first part (appliance_hostname: {label}); the Pi's name in the inventory may keep it"
    elif not is_host_name(name) or "." in name:
        wrong = "is not a host name"
        fix = "give letters, digits and hyphens, 63 at most (RFC 1123)"
    elif name.lower() in _HOSTS:
        wrong = "is the name of every machine for itself"
        fix = "give this Pi a name of its own, such as pi-north"
    else:
        return
    yield problem("appliance_hostname", f"{show(name)} {wrong}; {fix}")


def _check_path(values: Values, name: str, what: str) -> Iterator[Problem]:
    path = text(values, f"concentrator_{name}_path")
    # The program itself refuses a relative path.
    if path and path.startswith("/") and not _DATA.fullmatch(path):
        where = "in a folder of its own under /var/lib, /srv, /mnt or /media"
        example = f"such as /var/lib/smart-meter/{name}.db, of letters, digits, '.', '_' and '-'"
        message = f"{show(path)} is not a place for {what}; give a file {where}, {example}"
        yield problem(f"concentrator_{name}_path", message)


def _check_time_zone(values: Values) -> Iterator[Problem]:
    zone = values.get("appliance_timezone")
    known = _time_zones()
    # A controller may have no time zone database.
    if isinstance(zone, str) and known and zone not in known:
        hint = near(zone, known) or "; give one of `timedatectl list-timezones`, such as Europe/Berlin"
        yield problem("appliance_timezone", f"{show(zone)} is not a time zone{hint}")
