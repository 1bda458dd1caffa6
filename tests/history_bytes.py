"""Measure how much the history writes to a card, for the table in docs/history.md.

    sudo .venv/bin/python -m tests.history_bytes --interval 1 --seconds 600

One meter sends a sample every two seconds, like the ESP32. The database is on a separate ext4 file system on
a loop device. The device's counter of written sectors shows what a card would receive: SQLite's WAL and
database, and what ext4 adds. The table also shows what the process has written (/proc/self/io). There is no
budget, as with max_samples_per_second = 0. Needs root for the mount.

During the warm-up the clock is advanced by hand, until the WAL has reached the size at which it is
overwritten from its beginning. Then the clock runs at the real speed for `--seconds`, since ext4 commits its
journal by time.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smart_meter.config import Config, HistoryConfig
from smart_meter.history import Clocks, History

PERIOD = 2.0
"""Seconds between two samples."""
WARM_UP = 1200
"""Commits."""
YEAR = 365.25 * 86400
SECTOR = 512


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

    def __init__(self, path: Path, interval: float) -> None:
        self.commits = 0
        self._now = 1000.0
        self._interval = self._due = interval
        self._changed = threading.Condition()
        self._config = HistoryConfig(path=str(path), commit_interval=interval)
        clocks = Clocks(lambda: self._now, lambda: 1.6e9 + self._now, "measured")
        self._history = History(self._config, Config().meters, print, self._committed, clocks)
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


def measure(interval: float, seconds: float) -> str:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as name, card(Path(name)) as (folder, counters):
        run = Run(folder / "history.db", interval)
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
    device *= SECTOR
    yearly = YEAR / PERIOD / samples / 1e9
    return (
        f"| {interval:g} | {samples} | {commits} | {process:,} | {device:,} |"
        f" {process * yearly:.0f} | {device * yearly:.0f} |"
    )


def sectors(counters: Path) -> int:
    """Return the sectors written to a block device (Linux, admin-guide/iostats.rst, field 7)."""
    return int(counters.read_text().split()[6])


def written() -> int:
    """Return the number of bytes that this process has caused to be written."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


def main() -> None:
    """Print a row of the table."""
    parser = argparse.ArgumentParser(description="Measure how much the history writes to a card.")
    parser.add_argument("--interval", type=float, required=True, help="commit_interval")
    parser.add_argument("--seconds", type=float, default=600)
    arguments = parser.parse_args()
    print("| commit_interval | samples | commits | process, bytes | device, bytes | GB a year: each |  |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(measure(arguments.interval, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
