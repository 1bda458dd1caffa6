"""Judges the kernel's settings for forwarding, ICMP redirects, source routes and reverse-path filters.

It judges what is in force on each interface, not what was configured. It needs only Python, since the
playbooks also run this file on Pis that have no release yet. Arguments: the zones' interfaces. It prints a
list of JSON objects: name, found, expected, ok, key.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SYSCTL = Path("/proc/sys/net")
ALL, DEFAULT = "all", "default"
_FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    found: str
    expected: str
    ok: bool
    key: str
    """The settings, with `*` for the interface, as sysctl(8) names them."""


@dataclass(frozen=True, slots=True)
class _Switch:
    """A setting that must be off.

    is_on: whether it is on, by the value for all interfaces and the interface's own, according to
    ip-sysctl.rst of the kernel's documentation, for a host that does not forward.
    """

    family: str
    key: str
    is_on: Callable[[int, int], bool]


def _own(_: int, own: int) -> bool:
    return bool(own)


def _either(every: int, own: int) -> bool:
    return bool(every or own)


def _both(every: int, own: int) -> bool:
    return bool(every and own)


def _smaller(every: int, own: int) -> bool:
    # A negative value is stricter than 0.
    return min(every, own) > 0


def _for_all(every: int, _: int) -> bool:
    return bool(every)


# The check's name, its result if all settings are off and if one is on, and the settings.
_OFF: tuple[tuple[str, str, str, tuple[_Switch, ...]], ...] = (
    ("routing (IPv4)", "off", "on", (_Switch("ipv4", "forwarding", _own),)),
    ("routing (IPv6)", "off", "on", (_Switch("ipv6", "forwarding", _for_all),)),
    (
        "ICMP redirects",
        "refused",
        "accepted",
        (_Switch("ipv4", "accept_redirects", _either), _Switch("ipv6", "accept_redirects", _own)),
    ),
    ("ICMP redirects of its own", "off", "sent", (_Switch("ipv4", "send_redirects", _either),)),
    (
        "source routes",
        "refused",
        "accepted",
        (_Switch("ipv4", "accept_source_route", _both), _Switch("ipv6", "accept_source_route", _smaller)),
    ),
)
_STRICT, _LOOSE = 1, 2


def examine(zones: Sequence[str], sysctl: Path = SYSCTL) -> list[Finding]:
    """Check every interface of this machine. zones: the zones' interfaces."""
    return [*_switches(sysctl), *_filters(zones, sysctl)]


def _switches(sysctl: Path) -> Iterator[Finding]:
    for name, off, on, switches in _OFF:
        wrong = [
            f"{_shown(interface)} ({_FAMILIES[switch.family]})"
            for switch in switches
            for interface, every, own in _values(sysctl / switch.family, switch.key)
            if switch.is_on(every, own)
        ]
        found = f"{on}: {', '.join(wrong)}" if wrong else off
        keys = " ".join(f"net.{switch.family}.conf.*.{switch.key}" for switch in switches)
        yield Finding(name, found, off, not wrong, keys)


def _filters(zones: Sequence[str], sysctl: Path) -> Iterator[Finding]:
    """Check that the reverse-path filter is strict on the zones' interfaces, and on no other one off.

    The larger of the value for all interfaces and the interface's own applies.
    """
    levels = {
        interface: max(every, own)
        for interface, every, own in _values(sysctl / "ipv4", "rp_filter")
        if interface != "lo"
    }
    off = [
        f"{'loose' if level == _LOOSE else 'off'} on {_shown(interface)}"
        for interface, level in levels.items()
        if level < _STRICT or (level != _STRICT and interface in zones)
    ]
    name, strict = "reverse path filter", "strict on the zones' interfaces"
    yield Finding(name, ", ".join(off) or strict, strict, not off, "net.ipv4.conf.*.rp_filter")


def _values(family: Path, key: str) -> Iterator[tuple[str, int, int]]:
    """Yield (interface, value for all interfaces, its own), also of `default`, which new interfaces get.

    Yields nothing if the kernel does not have the setting: then there is nothing to turn off.
    """
    every = _number(family / "conf" / ALL / key)
    if every is None:
        return
    for folder in sorted((family / "conf").iterdir()):
        # An interface may disappear at any time.
        if folder.name != ALL and (own := _number(folder / key)) is not None:
            yield folder.name, every, own


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _shown(interface: str) -> str:
    return "an interface that is added" if interface == DEFAULT else interface


if __name__ == "__main__":
    print(json.dumps([asdict(finding) for finding in examine(sys.argv[1:])]))
