"""What happens at each boot, before systemd starts: from the card to folders that can be written.

The state partition grows, is checked and mounted. One that can't be repaired is set aside: the spare
partition replaces it from then on, with the image's defaults. Without either, all changes are kept in memory.
So they are at a boot at which a spare partition that is in use fails: it is not made again, and the state
partition is not tried, so that samples stay together.
Whatever happens, the Pi boots. A power cut at any point leaves a card with which the next boot continues.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from . import filesystem, growth, mbr
from .filesystem import Health

REPORT = Path("run/smart-meter-image/state.json")
SET_ASIDE = "set-aside.json"


class Partitions(Protocol):
    """A disk with partitions (devices.Disk)."""

    @property
    def device(self) -> Path:
        """The device file of the whole disk."""

    def partition(self, number: int) -> Path:
        """Return the device file of a partition. Raises OSError."""

    def sectors(self, number: int) -> int:
        """Return the size that the kernel has of a partition. Raises OSError."""

    def resize(self, number: int, sectors: int) -> None:
        """Give the kernel the size of a partition that has grown. Raises OSError."""


@dataclass
class Report:
    """What the doctor reads. kind: state, spare or memory; why: why it is not state, if it is not."""

    kind: str = "state"
    device: str = ""
    why: str = ""
    set_aside: float | None = None
    """When the state partition was set aside (Unix time; a Pi has no clock of its own)."""
    repaired: bool = False
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mounter:
    """Mounts at the state's folder. Each function raises OSError if it can't."""

    folder: Path
    mount: Callable[[Path], None]
    """Mounts a device."""
    unmount: Callable[[], None]
    memory: Callable[[], None]
    """Mounts an empty file system in memory."""


def grow_partition(disk: Partitions, number: int) -> None:
    """Make the last partition end where the disk ends. Raises OSError or ValueError."""
    for write in growth.planned(disk.device):
        growth.apply(disk.device, write)
    entry = next((entry for entry in mbr.read(disk.device) if entry.number == number), None)
    if entry is None:
        raise ValueError(f"the disk has no partition {number} in its tables")
    if disk.sectors(number) < entry.size // mbr.SECTOR:
        disk.resize(number, entry.size // mbr.SECTOR)


def mount_state(disk: Partitions, numbers: tuple[int, int], mounter: Mounter) -> Report:
    """Mount the state partition, or what replaces it. numbers: of the state partition and the spare."""
    state, spare = numbers
    report = Report()
    try:
        if _use_spare(disk, spare, mounter, report):
            return report
    except OSError as error:
        # It may have the only copy of what came since: the next boot tries it again.
        report.why = f"the spare partition may be in use, and can't be used: {error}"
        return _use_memory(mounter, report)
    try:
        grow_partition(disk, state)
    except (OSError, ValueError) as error:
        report.problems.append(f"the state partition could not grow: {error}")
    why = _use(disk, state, mounter, report)
    if why is None:
        return report
    report.why = why
    if _replace(disk, spare, mounter, report):
        return report
    return _use_memory(mounter, report)


def _use_memory(mounter: Mounter, report: Report) -> Report:
    report.kind, report.device = "memory", ""
    mounter.memory()
    return report


def _use(disk: Partitions, number: int, mounter: Mounter, report: Report) -> str | None:
    """Check, mount and grow a partition's file system; return why it can't be used, or None."""
    try:
        device = disk.partition(number)
        health, printed = filesystem.check(device)
        if health is Health.BROKEN:
            return f"it can't be repaired: {printed}"
        mounter.mount(device)
    except (OSError, ValueError) as error:
        return str(error)
    report.device = device.name
    report.repaired = health is Health.REPAIRED
    try:
        if filesystem.is_smaller(device):
            filesystem.grow(device)
    except (OSError, ValueError) as error:
        report.problems.append(str(error))
    return None


def _use_spare(disk: Partitions, spare: int, mounter: Mounter, report: Report) -> bool:
    """Mount the spare partition if it has replaced the state partition at an earlier boot.

    Raises OSError if it may have, and can't be used.
    """
    try:
        device = disk.partition(spare)
    except OSError:
        return False
    if not filesystem.was_made(device):
        return False
    if (why := _use(disk, spare, mounter, report)) is not None:
        raise OSError(why)
    if not _is_in_use(mounter.folder, report):
        mounter.unmount()
        report.device, report.repaired = "", False
        return False
    report.kind = "spare"
    return True


def _is_in_use(folder: Path, report: Report) -> bool:
    """Return whether the spare partition, mounted at `folder`, was finished at an earlier boot."""
    try:
        noted = json.loads((folder / SET_ASIDE).read_text(encoding="utf-8"))
        report.why, report.set_aside = str(noted["why"]), float(noted["when"])
    except FileNotFoundError:
        # A repair moves folders that lost their names to lost+found.
        folders = [path for path in (*folder.glob("*"), *folder.glob("lost+found/*")) if path.is_dir()]
        if all(path.name == "lost+found" for path in folders):
            return False
        report.why = "the reason is lost: the spare partition has no note"
    except (OSError, ValueError, KeyError, TypeError) as error:
        report.why = f"the reason is lost: {error!r}"
    return True


def _replace(disk: Partitions, spare: int, mounter: Mounter, report: Report) -> bool:
    """Let the spare partition replace the state partition, which stays as it is for the workshop."""
    try:
        device = disk.partition(spare)
        filesystem.make(device, "spare")
        mounter.mount(device)
        report.set_aside = time.time()
        note = {"why": report.why, "when": report.set_aside}
        write_durably(mounter.folder / SET_ASIDE, json.dumps(note).encode())
    except OSError as error:
        report.problems.append(f"the spare partition can't be used: {error}")
        return False
    report.kind, report.device = "spare", device.name
    return True


def make_machine_id(file: Path) -> bool:
    """Write a new machine-id if the file has none; return whether it did. Raises OSError."""
    text = file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else ""
    if len(text) == 32 and set(text) <= set("0123456789abcdef") and set(text) != {"0"}:
        return False
    write_durably(file, f"{uuid.uuid4().hex}\n".encode(), mode=0o444)
    return True


def write_report(report: Report, root: Path = Path("/")) -> None:
    """Write the report to /run. Raises OSError."""
    file = root / REPORT
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(report)), encoding="utf-8")


def lines(report: Report) -> Iterator[str]:
    """Yield what the journal has to show of a report; nothing if all is well."""
    if report.kind == "memory":
        yield f"all changes are in memory and lost at the next restart: {report.why}"
    elif report.kind == "spare":
        yield f"the spare partition is used, the state partition was set aside: {report.why}"
    if report.repaired:
        yield f"the file system of {report.device} had errors and was repaired"
    yield from report.problems


def write_durably(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that a power cut leaves the old content or the new one. Raises OSError."""
    new = file.with_name(f".{file.name}.new")
    with new.open("wb") as opened:
        opened.write(content)
        os.fchmod(opened.fileno(), mode)
        opened.flush()
        os.fsync(opened.fileno())
    new.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
