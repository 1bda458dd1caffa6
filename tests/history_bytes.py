"""Measure what the concentrator writes to a card in a year, for the tables in docs/history.md.

    make card-bytes                                                   # all, in about 11 minutes
    sudo .venv/bin/python -m tests.history_bytes --interval 1 --only history

One meter sends a sample every two seconds, like the ESP32. Each file is on a separate ext4 file system on a
loop device, whose counter of written sectors shows what a card would receive, with what ext4 adds. The
history's row also shows what the process has written (/proc/self/io; with `--only history`, since the audit
trail is in the same process). There is no budget, as with max_samples_per_second = 0. Needs root.

During the warm-up the history's clock is advanced by hand, until the WAL has reached the size at which it is
overwritten from its beginning. Then the clock runs at the real speed for `--seconds`, since ext4 commits its
journal by time. The audit trail gets a refused write every second, which is always of the same client, and
another event every ten minutes. The journal counts with what its file grows by, as the figure did that the
goal was derived from; the pages that change for that are a row of their own (see tests/journal_bytes.py).
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from smart_meter.config import Config, HistoryConfig
from smart_meter.history import Clocks, History
from smart_meter.log.audit.kinds import Kind

PERIOD = 2.0
"""Seconds between two samples."""
WARM_UP = 1200
"""Commits."""
YEAR = 365.25 * 86400
SECTOR = 512
GOAL = 80
"""GB a year in all."""


@contextmanager
def card(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Mount a fresh ext4 of 512 MiB; yield its folder, and the file with its device's counters."""
    image, mounted = folder / "card.img", folder / "card"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(512 * 2**20)
    # Without lazy initialisation, since the kernel would write inode tables during the measurement.
    lazy = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-E", lazy, image], check=True)
    subprocess.run(["mount", "-o", "loop,noatime", image, mounted], check=True)
    try:
        found = subprocess.run(
            ["findmnt", "--noheadings", "--output", "SOURCE", mounted],
            check=True,
            capture_output=True,
            text=True,
        )
        yield mounted, Path("/sys/block") / Path(found.stdout.strip()).name / "stat"
    finally:
        subprocess.run(["umount", mounted], check=True)


class Run:
    """A history with a clock that is advanced by hand, and a sample every `PERIOD` seconds."""

    def __init__(self, path: Path, interval: float, runtime: Path) -> None:
        self.commits = 0
        self._now = 1000.0
        self._interval = self._due = interval
        self._changed = threading.Condition()
        self._config = HistoryConfig(path=str(path), commit_interval=interval)
        clocks = Clocks(lambda: self._now, lambda: 1.6e9 + self._now, "measured")
        self._history = History(
            self._config, Config().meters, print, self._committed, clocks, runtime=runtime
        )
        self._history.open()
        self._due = self._now + interval

    def sample(self) -> None:
        """Record a sample and advance the clock by `PERIOD`; return when every due commit is on disk."""
        registers = int(self._now).to_bytes(16)
        ticket = self._history.record("pv", self._now, registers, int(1.6e9 + self._now), 0)
        self._now += PERIOD
        if self._now >= self._due:
            self._due = self._now + self._interval
            # The writer reads the clock when it wakes up. Wake it here, as the passing of real time would.
            self._history.reconfigure(self._config, Config().meters)
            with self._changed:
                self._changed.wait_for(lambda: self._history.done >= ticket)

    def stop(self) -> None:
        """Close the file."""
        self._history.stop(60)

    def _committed(self) -> None:
        with self._changed:
            self.commits += 1
            self._changed.notify_all()


class Written(NamedTuple):
    """What was written while it was measured."""

    seconds: float
    device: int
    """Bytes that the card received."""
    process: int = 0
    """Bytes that this process wrote; 0: not measured."""
    samples: int = 0
    commits: int = 0
    pages: int = 0
    """Of the journal: `device` is what its file grows by, this what all pages take that changed meanwhile."""

    @property
    def yearly(self) -> float:
        """Return what the card receives in a year, in GB."""
        return self.device / self.seconds * YEAR / 1e9


def measure_history(interval: float, seconds: float) -> Written:
    """Measure the history with a commit_interval."""
    with (
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
        card(Path(name)) as (folder, counters),
    ):
        run = Run(folder / "history.db", interval, Path(memory))
        while run.commits < WARM_UP:
            run.sample()
        subprocess.run(["sync", "--file-system", folder], check=True)
        commits, device, process = run.commits, sectors(counters), written()
        samples, began = 0, time.monotonic()
        while samples * PERIOD < seconds:
            samples += 1
            run.sample()
            time.sleep(max(began + samples * PERIOD - time.monotonic(), 0))
        subprocess.run(["sync", "--file-system", folder], check=True)
        commits, device, process = run.commits - commits, sectors(counters) - device, written() - process
        run.stop()
    return Written(samples * PERIOD, device * SECTOR, process, samples, commits)


def measure_events(seconds: float) -> Written | None:
    """Measure the audit trail; None if there is none."""
    try:
        trails = importlib.import_module("smart_meter.log.audit.trail")
    except ImportError:
        return None
    config = importlib.import_module("smart_meter.config").EventsConfig
    with tempfile.TemporaryDirectory() as name, card(Path(name)) as (folder, counters):
        trail = trails.Trail(config(path=str(folder / "events.db")), print)
        trail.start()
        trail.note(Kind.START, "version 1, on port 502")
        time.sleep(60)
        subprocess.run(["sync", "--file-system", folder], check=True)
        device, began = sectors(counters), time.monotonic()
        for second in range(int(seconds)):
            text = f"wrote registers {second % 8}-8 with function 16: exception 02, the map has registers 0-7"
            trail.note(Kind.REFUSED, text, client="192.168.1.51", meter="pv")
            if second % 600 == 300:
                trail.note(Kind.STALE, f"no sample for {second} s", meter="pv")
            time.sleep(max(began + second + 1 - time.monotonic(), 0))
        subprocess.run(["sync", "--file-system", folder], check=True)
        device = sectors(counters) - device
        trail.close()
        trail.join(60)
    return Written(int(seconds), device * SECTOR)


def measure_journal(seconds: float) -> Written | None:
    """Measure the journal; None if its module is not there."""
    try:
        journal = importlib.import_module("tests.journal_bytes")
    except ImportError:
        return None
    found = journal.bytes_per_day(int(seconds))
    return Written(86_400, int(found.bytes_a_day), pages=int(found.changed_a_day))


def sectors(counters: Path) -> int:
    """Return the sectors written to a block device (Linux, admin-guide/iostats.rst, field 7)."""
    return int(counters.read_text().split()[6])


def written() -> int:
    """Return the number of bytes that this process has caused to be written."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure what the concentrator writes to a card in a year.")
    parser.add_argument("--interval", type=float, default=HistoryConfig().commit_interval)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--only", choices=["history", "journal", "events"])
    arguments = parser.parse_args()
    seconds = arguments.seconds
    tasks: dict[str, Callable[[], Written | None]] = {
        "history": lambda: measure_history(arguments.interval, seconds),
        "journal": lambda: measure_journal(seconds),
        "events": lambda: measure_events(seconds),
    }
    names = [arguments.only] if arguments.only else list(tasks)
    with ThreadPoolExecutor() as pool:
        found = dict(zip(names, pool.map(lambda name: tasks[name](), names), strict=True))
    history = found.get("history")
    if history is not None:
        print("| commit_interval | samples | commits | process, bytes | card, bytes |")
        print("| --- | --- | --- | --- | --- |")
        print(
            f"| {arguments.interval:g} | {history.samples} | {history.commits} | {history.process:,} |"
            f" {history.device:,} |\n"
        )
    print("| what | card, GB a year |")
    print("| --- | --- |")
    for name, measured in found.items():
        print(f"| {name} | {'not measured' if measured is None else f'{measured.yearly:.1f}'} |")
        if measured is not None and measured.pages:
            pages = measured._replace(device=measured.pages)
            print(f"| {name}, whole pages (not in the sum) | {pages.yearly:.1f} |")
    if all(found.values()) and len(found) == len(tasks):
        total = sum(measured.yearly for measured in found.values() if measured is not None)
        print(f"| all | {total:.1f} (at most {GOAL}) |")
        sys.exit(0 if total <= GOAL else 1)


if __name__ == "__main__":
    main()
