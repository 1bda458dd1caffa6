"""Whether a Pi can become a concentrator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from roles.preflight.rules.problem import Problem, Values, problem

TESTED_RELEASE = 13
OLDEST_RELEASE = 12
OLDEST_PYTHON = (3, 11)
ARCHITECTURES = ("aarch64", "x86_64")
CLOCK_WARNING_SECONDS = 300
CLOCK_LIMIT_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Found:
    """What was found on the Pi.

    facts: as `ansible.builtin.setup` gathers them; they leave out a root file system that is an overlay, so
    `free_bytes` is read separately. clock_ahead: seconds by which the Pi's clock is ahead of the
    controller's. user_id: the user that commands run as, through sudo. network_manager: the output of
    `systemctl is-active`.
    """

    facts: Mapping[str, Any]
    clock_ahead: float
    user_id: int
    free_bytes: int
    network_manager: str


def examine(found: Found, values: Values) -> tuple[list[Problem], list[str]]:
    """Return (problems, warnings), each with its fix; a problem of the Pi itself has no key."""
    problems = [
        *(Problem((), message) for message in _check_system(found)),
        *_check_interfaces(found.facts, values),
        *(Problem((), message) for message in _check_disk(found.free_bytes, values)),
    ]
    warnings = []
    facts = found.facts
    if facts.get("distribution") == "Debian" and _release(facts) == OLDEST_RELEASE:
        warnings.append(
            "runs Debian 12 (bookworm), where the concentrator's sandbox is weaker; Debian 13 is better"
        )
    clock = abs(found.clock_ahead)
    side = "ahead of" if found.clock_ahead > 0 else "behind"
    finding = f"its clock is {_duration(clock)} {side} the controller's"
    why = "TLS and package signatures fail with a wrong clock"
    fix = "set it (sudo date -s), and add a time server that it can reach to appliance_ntp_servers"
    if clock > CLOCK_LIMIT_SECONDS and values.get("preflight_clock_may_differ") is not True:
        message = f"{finding}, and {why}; {fix}, or set preflight_clock_may_differ: true"
        problems.append(Problem((), message))
    elif clock > CLOCK_WARNING_SECONDS:
        warnings.append(f"{finding}; {why}. {fix[0].upper()}{fix[1:]}")
    return problems, warnings


def _check_system(found: Found) -> Iterator[str]:
    facts = found.facts
    system = f"{facts.get('distribution')} {facts.get('distribution_version')}"
    flash = "flash Raspberry Pi OS trixie (Debian 13), 64-bit"
    if facts.get("distribution") != "Debian" or _release(facts) < OLDEST_RELEASE:
        yield f"runs {system}; {flash}"
    elif _release(facts) > TESTED_RELEASE:
        yield f"runs {system}, which is not tested; {flash}"
    architecture = facts.get("architecture")
    if architecture not in ARCHITECTURES or str(facts.get("userspace_bits")) != "64":
        seen = f"{architecture} with {facts.get('userspace_bits')}-bit programs"
        yield f"is {seen}; flash the 64-bit Raspberry Pi OS (a Pi 3, 4, 5 or Zero 2 W runs it)"
    if facts.get("service_mgr") != "systemd":
        yield f"was started by {facts.get('service_mgr')}, not by systemd; flash Raspberry Pi OS trixie"
    if found.network_manager != "active":
        fix = "sudo apt install network-manager, then sudo systemctl enable --now NetworkManager"
        state = found.network_manager or "not installed"
        yield f"NetworkManager is {state}, and nothing else sets the addresses; {fix}"
    version = facts.get("python", {}).get("version", {})
    python = (int(version.get("major", 0)), int(version.get("minor", 0)))
    if python < OLDEST_PYTHON:
        yield (
            f"has Python {python[0]}.{python[1]}; {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later is needed,"
            " which Debian 12 and 13 have: check ansible_python_interpreter"
        )
    if found.user_id != 0:
        yield (
            f"commands run as user {found.user_id} and not as root; let ansible_user use sudo for everything"
            " (sudo usermod -aG sudo USER), and leave ansible_become as it is"
        )


def _check_interfaces(facts: Mapping[str, Any], values: Values) -> Iterator[Problem]:
    present = sorted(name for name in facts.get("interfaces", []) if name != "lo")
    for zone in ("field", "control"):
        name = f"network_{zone}_interface"
        if values.get(name) not in present:
            there = ", ".join(present) or "none"
            message = f"this Pi has no interface {values.get(name)}; give one that it has: {there}"
            yield problem(name, message)


def _check_disk(free_bytes: int, values: Values) -> Iterator[str]:
    needed = int(values.get("preflight_disk_megabytes", 0))
    if free_bytes < needed * 1_000_000:
        yield (
            f"has {free_bytes // 1_000_000} MB free on /, and {needed} MB are needed; free some"
            " (sudo apt clean), grow the file system (sudo raspi-config --expand-rootfs), or take a larger"
            " card"
        )


def _release(facts: Mapping[str, Any]) -> int:
    """Return the major release; testing and unstable have a name instead, and count as the newest."""
    version = str(facts.get("distribution_major_version", ""))
    return int(version) if version.isdigit() else 99


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
