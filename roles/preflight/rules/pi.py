"""Whether a Pi can become a concentrator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roles.preflight.rules.conflicts import conflicts
from roles.preflight.rules.look import Look
from roles.preflight.rules.problem import Problem, Values, problem

TESTED_RELEASE = 13
OLDEST_RELEASE = 12
OLDEST_PYTHON = (3, 11)
ARCHITECTURES = ("aarch64", "x86_64")
CLOCK_WARNING_SECONDS = 300
CLOCK_LIMIT_SECONDS = 86400
_IMAGE_MEGABYTES = 100


def examine(look: Look, clock_ahead: float, values: Values) -> tuple[list[Problem], list[str]]:
    """Return (problems, warnings), each with its fix; a problem of the Pi itself has no key.

    clock_ahead: seconds by which the Pi's clock is ahead of the controller's.
    """
    if look.failed:
        # The fields of these commands are empty: what is there would be reported as missing.
        return [Problem((), f"{failure}; run again, or find out why") for failure in look.failed], []
    problems = [
        *(Problem((), message) for message in _check_system(look)),
        *_check_interfaces(look.interfaces, values),
        *(Problem((), message) for message in _check_disk(look, values)),
        *conflicts(look, values),
    ]
    warnings = []
    if _is_debian(look) and look.release.major == OLDEST_RELEASE:
        warnings.append(
            "runs Debian 12 (bookworm), where the concentrator's sandbox is weaker; Debian 13 is better"
        )
    clock = abs(clock_ahead)
    side = "ahead of" if clock_ahead > 0 else "behind"
    finding = f"its clock is {_duration(clock)} {side} the controller's"
    why = "TLS and package signatures fail with a wrong clock"
    fix = "set it (sudo date -s), and add a time server that it can reach to appliance_ntp_servers"
    if clock > CLOCK_LIMIT_SECONDS and values.get("preflight_clock_may_differ") is not True:
        message = f"{finding}, and {why}; {fix}, or set preflight_clock_may_differ: true"
        problems.append(Problem((), message))
    elif clock > CLOCK_WARNING_SECONDS:
        warnings.append(f"{finding}; {why}. {fix[0].upper()}{fix[1:]}")
    return problems, warnings


def _check_system(look: Look) -> Iterator[str]:
    release = look.release
    system = f"Debian {release.debian}" if _is_debian(look) else f"{release.name} {release.version}".strip()
    flash = "flash Raspberry Pi OS trixie (Debian 13), 64-bit"
    if not _is_debian(look) or release.major < OLDEST_RELEASE:
        yield f"runs {system}; {flash}"
    elif release.major > TESTED_RELEASE:
        yield f"runs {system}, which is not tested; {flash}"
    if look.machine not in ARCHITECTURES or look.bits != 64:
        seen = f"{look.machine} with {look.bits}-bit programs"
        yield f"is {seen}; flash the 64-bit Raspberry Pi OS (a Pi 3, 4, 5 or Zero 2 W runs it)"
    if not look.systemd:
        yield f"was started by {look.init}, not by systemd; flash Raspberry Pi OS trixie"
    if look.network_manager != "active":
        fix = "sudo apt install network-manager, then sudo systemctl enable --now NetworkManager"
        state = look.network_manager or "not installed"
        yield f"NetworkManager is {state}, and nothing else sets the addresses; {fix}"
    python = tuple(int(part) for part in look.python.split("."))
    if python < OLDEST_PYTHON:
        yield (
            f"has Python {look.python}; {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later is needed,"
            " which Debian 12 and 13 have: check ansible_python_interpreter"
        )
    if look.user_id != 0:
        yield (
            f"commands run as user {look.user_id} and not as root; let ansible_user use sudo for everything"
            " (sudo usermod -aG sudo USER), and leave ansible_become as it is"
        )


def _check_interfaces(interfaces: Sequence[str], values: Values) -> Iterator[Problem]:
    present = sorted(name for name in interfaces if name != "lo")
    for zone in ("field", "control"):
        name = f"network_{zone}_interface"
        if values.get(name) not in present:
            there = ", ".join(present) or "none"
            message = f"this Pi has no interface {values.get(name)}; give one that it has: {there}"
            yield problem(name, message)


def _check_disk(look: Look, values: Values) -> Iterator[str]:
    free_bytes, needed = look.free_bytes, int(values.get("preflight_disk_megabytes", 0))
    if look.root.ours:
        # It gets no packages, and its spare partition is small.
        needed = min(needed, _IMAGE_MEGABYTES)
        if free_bytes < needed * 1_000_000:
            yield (
                f"has {free_bytes // 1_000_000} MB free on its state partition, and {needed} MB are needed;"
                " see what takes them (sudo du -xh /state | sort -h | tail), or take a larger card"
            )
    elif free_bytes < needed * 1_000_000:
        yield (
            f"has {free_bytes // 1_000_000} MB free on /, and {needed} MB are needed; free some"
            " (sudo apt clean), grow the file system (sudo raspi-config --expand-rootfs), or take a larger"
            " card"
        )


def _is_debian(look: Look) -> bool:
    # The 32-bit Raspberry Pi OS has a name of its own; it is refused by its architecture.
    return look.release.id in ("debian", "raspbian")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
