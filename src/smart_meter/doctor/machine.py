"""Judges the Pi itself: clock, disk, card, temperature and power. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from smart_meter.doctor.check import AS_ROOT, PROVISION, Check, bad, ok, size, span, unknown, warning

_LOW_SHARE, _LOWEST_SHARE, _LOWEST_BYTES = 0.10, 0.02, 100e6
_THROTTLES, _HOT = 80.0, 85.0  # A Raspberry Pi throttles its processor from 80 °C, and more from 85 °C.
_MUCH_A_DAY = 20e9
_DAY = 86400.0
_YEAR = 365.25 * _DAY
_LEAST_YEARS = 5
# An image installs no packages, so iotop is not at hand.
_WRITERS = (
    "sudo grep ^write_bytes /proc/[0-9]*/io | sort -t: -k3 -n | tail -5 shows which processes wrote most"
)
# A cell of a common card can be written about 1,000 times, and its controller writes about ten times what it
# is given, since it erases whole blocks for small writes.
_OVERWRITES = 100
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = (
    1,
    2,
    4,
    8,
)  # bits of get_throttled; 16 bits higher: since boot


def judge_clock(now: float, *, synchronised: bool | None, not_before: float) -> Check:
    """Judge the clock. now: Unix seconds. not_before: a time that is certainly in the past (Unix seconds)."""
    name = "clock"
    found = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    expected = "right, and synchronised"
    fix = "timedatectl timesync-status; set appliance_ntp_servers in the inventory to a server in reach"
    if now < not_before:
        past = datetime.fromtimestamp(not_before, UTC).isoformat(timespec="seconds")
        set_it = f"{fix}; by hand: sudo date --utc --set '{past.replace('+00:00', '')}' with the correct time"
        return bad(name, f"{found}, which is in the past: it was already {past}", expected, set_it)
    if synchronised is None:
        return unknown(name, f"{found}; whether it is synchronised is not known", expected)
    if not synchronised:
        return warning(name, f"{found}, not synchronised", expected, fix)
    return ok(name, f"{found}, synchronised", expected)


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system; sizes in bytes."""

    path: str
    total: int
    free: int
    """Available to users other than root."""
    read_only: bool = False


def judge_disk(disk: Disk) -> Check:
    """Judge the free space of a file system."""
    name = f"disk, {disk.path}"
    share = disk.free / disk.total if disk.total else 0.0
    found = f"{size(disk.free)} of {size(disk.total)} free ({share:.0%})"
    expected = f"{_LOW_SHARE:.0%} free"
    fix = (
        f"sudo du -xh {disk.path} | sort -h | tail shows what uses it; sudo journalctl --vacuum-size=100M; "
        "sudo apt-get clean"
    )
    if disk.read_only:
        return bad(name, "read-only", "writable", "dmesg | tail; replace the card if it is worn out")
    if share < _LOWEST_SHARE or disk.free < _LOWEST_BYTES:
        return bad(name, found, expected, fix)
    if share < _LOW_SHARE:
        return warning(name, found, expected, fix)
    return ok(name, found, expected)


_JOURNAL, _SYSTEM = "/var/log/journal/", "/system.journal"


def judge_journal(files: Sequence[str] | None) -> Check:
    """Judge where journald writes. files: those that it has open; None if this user may not see them."""
    name = "journal"
    expected = "on the card, kept over restarts"
    if files is None:
        return unknown(name, "only root can see which files journald has open", expected, AS_ROOT)
    system = [file for file in files if file.endswith(_SYSTEM)]
    if any(file.startswith(_JOURNAL) for file in system):
        return ok(name, expected, expected)
    found = f"in memory only ({system[0]}), lost at a restart" if system else "not stored at all"
    return bad(name, found, expected, f"sudo journalctl --flush; if that does not help, {PROVISION}")


def judge_boot_partition(files: Sequence[str]) -> Check:
    """Judge what an installer left on the boot partition. files: those with a Wi-Fi passphrase."""
    name = "boot partition"
    expected = "no Wi-Fi passphrase"
    if not files:
        return ok(name, expected, expected)
    fix = (
        "anybody who has the card can read it: set appliance_remove_imager_secrets: true in the inventory, "
        "and run make provision; copies for root only may be in /etc/netplan and /var/lib/cloud/instance"
    )
    return warning(name, f"{', '.join(files)}: has a Wi-Fi passphrase", expected, fix)


@dataclass(frozen=True, slots=True)
class Card:
    """The device that holds the root file system."""

    name: str
    """For example mmcblk0."""
    kind: str = ""
    """SD or MMC (eMMC), as the kernel names it; empty for other disks."""
    written: int | None = None
    """Bytes since boot."""
    life: int | None = None
    """Only eMMC: tenths of its life that are used up, 1 to 11 (over)."""
    end_of_life: int | None = None
    """Only eMMC: 1 normal, 2 most of the reserve is used up, 3 nearly all of it."""
    size: int | None = None
    """Its capacity in bytes."""


def judge_card(card: Card | None, uptime: float | None) -> Check:
    """Judge the wear of the SD card or eMMC. uptime: seconds since boot."""
    name = "card's wear"
    expected = f"under {size(_MUCH_A_DAY)} written a day"
    if card is None:
        return unknown(name, "the system's device is not known", expected)
    what = f"{card.kind or 'disk'} {card.name}"
    found = what
    if card.written is not None and uptime:
        found += f", {size(card.written)} written in {span(uptime)}"
    if not card.name.startswith("mmcblk"):
        return ok(name, f"{found}; not a card", expected)
    replace = "copy the history (smart-meter history --format csv), replace the card, and provision it"
    if card.life is not None:
        found += f", {min(card.life * 10, 100)} % of its life used up"
        expected = "under 80 % of its life used up"
    if (card.end_of_life or 0) >= 3 or (card.life or 0) > 10:
        return bad(name, found, expected, replace)
    if (card.end_of_life or 0) >= 2 or (card.life or 0) > 8:
        return warning(name, found, expected, replace)
    # Shortly after boot, what booting wrote must not be taken for the usual rate.
    if card.written is not None and uptime and card.written / max(uptime, _DAY / 4) * _DAY > _MUCH_A_DAY:
        fix = _WRITERS
        return warning(name, found, expected, fix)
    if card.life is None:
        found += "; an SD card does not report its wear"
    return ok(name, found, expected)


def judge_life(card: Card | None, uptime: float | None) -> Check:
    """Project how long the card lasts, if it is written as it was since boot. uptime: seconds since boot."""
    name = "card's life"
    expected = f"at least {_LEAST_YEARS} years at the present rate"
    if card is None or card.written is None or not card.size or not uptime:
        return unknown(name, "what is written to the card is not known", expected)
    if not card.name.startswith("mmcblk"):
        return ok(name, f"{card.name} is not a card", expected)
    if uptime < _DAY / 4:
        # What booting writes is not the usual rate.
        return ok(name, "the rate is known six hours after a start", expected)
    a_year = card.written / uptime * _YEAR
    years = card.size * _OVERWRITES / a_year if a_year else float("inf")
    lasts = "over 100 years" if years > 100 else f"{years:.0f} years" if years >= 2 else f"{years:.1f} years"
    found = f"{size(a_year)} a year at the rate since boot: a card of {size(card.size)} lasts {lasts}"
    if years < _LEAST_YEARS:
        fix = f"{_WRITERS}; or use a larger card"
        return warning(name, found, expected, fix)
    return ok(name, found, expected)


def judge_restart(due: float | None) -> Check:
    """Judge whether an update waits for a restart. due: for how many seconds; None if none waits."""
    name, expected = "restart", "no update waits for one"
    if due is None:
        return ok(name, expected, expected)
    fix = (
        "sudo systemctl reboot, when the plant can do without it for a minute; "
        "or give appliance_unattended_reboot_time a window, then make provision LIMIT=NAME-OF-THIS-PI"
    )
    return warning(name, f"due for {span(due)}: an update takes effect only then", expected, fix)


def judge_temperature(celsius: float | None) -> Check:
    """Judge the processor's temperature."""
    name = "temperature"
    expected = f"under {_THROTTLES:.0f} °C"
    if celsius is None:
        return unknown(name, "this machine does not report it", expected)
    found = f"{celsius:.0f} °C"
    fix = "improve the cooling (air flow, heat sink), and keep the enclosure out of the sun"
    if celsius >= _HOT:
        return bad(name, found, expected, fix)
    return warning(name, found, expected, fix) if celsius >= _THROTTLES else ok(name, found, expected)


def judge_power(throttled: int | None) -> Check:
    """Judge the supply voltage. throttled: the bits of the firmware's get_throttled."""
    name = "supply voltage"
    expected = "no under-voltage since boot"
    if throttled is None:
        return unknown(name, "this machine does not report it", expected)
    fix = "use the official power supply and a short cable; then reboot the Pi, which resets this check"
    if throttled & _UNDER_VOLTAGE:
        return bad(name, "too low now", expected, fix)
    if throttled >> 16 & _UNDER_VOLTAGE:
        return warning(name, "was too low since boot", expected, fix)
    if throttled & (_CAPPED | _THROTTLED | _SOFT_LIMIT):
        return warning(name, "good; throttled by heat", expected, "improve the cooling (air flow, heat sink)")
    return ok(name, "good", expected)
