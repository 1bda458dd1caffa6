"""A disk that is full, and has room again: Modbus answers throughout, and recording resumes by itself."""

from __future__ import annotations

import errno
import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.networks import WITH_US
from tests.integration.program import COMMAND, Connection, Program, environment
from tests.unit.wire import read

from soak.kills import CONFIG, Writer, whole
from soak.machine import SoakError, ending, wait_until, work_folder
from soak.report import Ledger, Outcome, count

_WRITERS = 2
_PAUSE = 0.004
_FULL_SECONDS = 2.0
_NOTICE_SECONDS = 60.0
"""Until the service notices: what was written before leaves room in the write-ahead log."""
_RESUME_SECONDS = 20.0
_SIZE_MIB = 8
_NOTICE = "[HISTORY]"
# A file system of its own that nobody sees but the program, and that goes when the program does.
_ON_A_SMALL_DISK = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


@dataclass(slots=True)
class Reader:
    """Reads all the time; an answer is right where its two numbers belong together."""

    port: int
    asked: int = 0
    wrong: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until told to stop."""
        with Connection(self.port) as client:
            while not self.stop.wait(0.002):
                self.asked += 1
                try:
                    reply = client.ask(read(0, 4))
                except OSError:
                    reply = b""
                self.wrong += len(reply) != 17 or whole(reply[9:]) is None
                if not reply:
                    return


class Disk:
    """A concentrator that records on a small disk of its own."""

    def __init__(self, folder: Path, commit_interval: float) -> None:
        mount = folder / "card"
        mount.mkdir()
        self._database = mount / "history.db"
        config = folder / "config.toml"
        text = CONFIG.format(path=self._database).replace(
            "commit_interval = 0", f"commit_interval = {commit_interval}"
        )
        config.write_text(text + "\n[journal]\nstatistics_interval = 1\n")
        prefix = (*WITH_US, *_ON_A_SMALL_DISK, _MOUNT, f"{_SIZE_MIB}m", str(mount))
        self.program = Program(
            ("run", "--trial", "--config", str(config), "--port", "0"), folder, prefix=prefix
        )
        self.port = self.program.port()
        self._filler = Path(f"/proc/{self.program.process.pid}/root{mount}/filler")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room on the disk within the block."""
        with self._filler.open("wb", buffering=0) as filler:
            for size in (65536, 4096, 1):
                with suppress_full():
                    while filler.write(bytes(size)) == size:
                        pass
        try:
            yield
        finally:
            self._filler.unlink()

    def recorded(self) -> list[int]:
        """Return the counters of the samples on the disk, as the program's own command shows them."""
        inside = ("nsenter", f"--mount=/proc/{self.program.process.pid}/ns/mnt")
        command = [*inside, *COMMAND, "history", "--path", str(self._database), "--format", "json"]
        told = subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=60, check=False
        )
        if told.returncode != 0:
            raise SoakError(f"smart-meter history: {told.stderr.strip()[-300:]}")
        return [int(json.loads(line)["values"]["counter"]) for line in told.stdout.splitlines()]

    def counted(self) -> tuple[int, int]:
        """Return how many samples the service says it has stored, and not stored."""
        # What is 0 is left out of the line.
        pattern = r"^\[STATS\] .*\| Stored: (\d+)(?: \| Not stored: (\d+))?"
        found = re.findall(pattern, self.program.out, re.MULTILINE)
        stored, lost = found[-1] if found else ("", "")
        return int(stored or 0), int(lost or 0)


@contextmanager
def suppress_full() -> Iterator[None]:
    """Go on behind the block where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@dataclass(slots=True)
class Tally:
    """What one way of acknowledging came to."""

    acknowledged: int = 0
    refused: int = 0
    read: int = 0
    counted_lost: int = 0
    resumed: float = 0.0
    """Seconds from the room on the disk to the first sample on it, at the longest."""


def run(times: int, say: Callable[[str], None]) -> Outcome:
    """Fill the disk so many times, with group commits and with each sample's own."""
    ledger = Ledger()
    say("group commits")
    grouped = _fill_and_free(times, 0.05, ledger, say)
    say("each acknowledged sample on disk")
    strict = _fill_and_free(times, 0, ledger, say)
    ledger.expect(grouped.refused == 0, f"{grouped.refused} writes were refused though commits come later")
    ledger.expect(strict.refused > 0, "no write was refused though its sample could not be stored")
    reads = grouped.read + strict.read
    acknowledged = grouped.acknowledged + strict.acknowledged
    return ledger.outcome(
        f"disk full and back, under write load, commit_interval = 0.05 and = 0 ({_SIZE_MIB} MiB tmpfs)",
        f"{count(2 * times, 'time')}; {count(acknowledged, 'acknowledged sample')}",
        f"{grouped.counted_lost + strict.counted_lost} acknowledged samples, by the service's own count; "
        f"0 of {reads:,} reads; recording again after {max(grouped.resumed, strict.resumed):.1f} s; "
        f"{strict.refused:,} writes got exception 04 (commit_interval = 0)",
    )


def _fill_and_free(times: int, interval: float, ledger: Ledger, say: Callable[[str], None]) -> Tally:
    tally = Tally()
    way = f"commit_interval = {interval:g}"
    with work_folder("disk") as folder:
        disk = Disk(folder, interval)
        with ending(disk.program), _load(disk) as (writers, reader):
            for number in range(1, times + 1):
                _once(disk, tally, ledger, way)
                say(f"full and back, {number} of {times}")
            for writer in writers:
                writer.halt()
            reader.stop.set()
            acknowledged = {counter for writer in writers for counter in writer.acknowledged}
            # What waits is written with the next commit.
            wait_until(lambda: len(acknowledged) - len(disk.recorded()) <= disk.counted()[1], 10, pause=0.5)
            found = disk.recorded()
            tally.acknowledged = len(acknowledged)
            tally.refused = sum(writer.refused for writer in writers)
            wrong = sum(writer.wrong for writer in writers)
            tally.counted_lost = disk.counted()[1] if interval else 0
            missing = len(acknowledged - set(found))
            ledger.expect(
                missing <= tally.counted_lost,
                f"{missing} acknowledged samples missing, {tally.counted_lost} counted as lost ({way})",
            )
            ledger.expect(len(found) == len(set(found)), f"samples were stored twice ({way})")
            ledger.expect(wrong == 0, f"{wrong} writes were answered wrong ({way})")
            code, _ = disk.program.stop()
            ledger.expect(code == 0, f"a clean end: exit code {code} ({way})")
        ledger.expect(reader.wrong == 0, f"{reader.wrong} reads were answered wrong or not ({way})")
        ledger.expect(reader.asked > 100 * times, f"only {reader.asked} reads ({way})")
        tally.read = reader.asked
    return tally


def _once(disk: Disk, tally: Tally, ledger: Ledger, way: str) -> None:
    """Fill the disk, wait until that is noticed, free it, and wait until recording goes on."""
    program = disk.program
    notices = program.out.count(_NOTICE)

    def told(what: str) -> bool:
        return what in _NOTICE.join(program.out.split(_NOTICE)[notices + 1 :])

    with disk.full():
        noticed = wait_until(lambda: told("no space is left"), _NOTICE_SECONDS)
        ledger.expect(noticed, f"the journal does not tell that the disk is full ({way})")
        time.sleep(_FULL_SECONDS)
        stored = disk.counted()[0]
    began = time.monotonic()
    resumed = wait_until(lambda: told("recording again"), _RESUME_SECONDS)
    tally.resumed = max(tally.resumed, time.monotonic() - began)
    ledger.expect(resumed, f"recording did not resume within {_RESUME_SECONDS:g} s ({way})")
    grows = wait_until(lambda: disk.counted()[0] > stored, 5)
    ledger.expect(grows, f"no sample was stored after there was room again ({way})")


@contextmanager
def _load(disk: Disk) -> Iterator[tuple[list[Writer], Reader]]:
    """Write and read beside the block."""
    counters = itertools.count(1)
    writers = [Writer(disk.port, counters, _PAUSE) for _ in range(_WRITERS)]
    for writer in writers:
        writer.start()
    wait_until(lambda: all(writer.acknowledged for writer in writers), 10)
    reader = Reader(disk.port)
    reading = threading.Thread(target=reader.run, daemon=True)
    reading.start()
    try:
        yield writers, reader
    finally:
        for writer in writers:
            writer.halted.set()
        reader.stop.set()
        reading.join()
