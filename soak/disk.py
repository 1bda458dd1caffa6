"""The disk gets full and has space again: Modbus keeps answering, and recording resumes by itself."""

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

from soak.kills import CONFIG, Writer, decoded
from soak.machine import SoakError, ending, wait_until, work_folder
from soak.report import Ledger, Outcome, count

_WRITERS = 2
_PAUSE = 0.004
_FULL_SECONDS = 2.0
_NOTICE_SECONDS = 60.0
"""Time for the service to notice: it can first reuse space in the write-ahead log."""
_RESUME_SECONDS = 20.0
_SIZE_MIB = 8
_NOTICE = "[HISTORY]"
# A file system that only the program can see, and that is unmounted when the program ends.
_ON_A_SMALL_DISK = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


@dataclass(slots=True)
class Reader:
    """Reads continuously. A reply is correct if its counter and check value match."""

    port: int
    reads: int = 0
    wrong: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until `stop` is set or the connection ends."""
        with Connection(self.port) as client:
            while not self.stop.wait(0.002):
                self.reads += 1
                try:
                    reply = client.ask(read(0, 4))
                except OSError:
                    reply = b""
                self.wrong += len(reply) != 17 or decoded(reply[9:]) is None
                if not reply:
                    return


class Disk:
    """A concentrator that records to its own small disk."""

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
        """Fill the disk, and free it at the end of the block."""
        with self._filler.open("wb", buffering=0) as filler:
            for size in (65536, 4096, 1):
                with suppress_no_space():
                    while filler.write(bytes(size)) == size:
                        pass
        try:
            yield
        finally:
            self._filler.unlink()

    def recorded(self) -> list[int]:
        """Return the counters of the samples on the disk, from `smart-meter history`."""
        inside = ("nsenter", f"--mount=/proc/{self.program.process.pid}/ns/mnt")
        command = [*inside, *COMMAND, "history", "--path", str(self._database), "--format", "json"]
        printed = subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=60, check=False
        )
        if printed.returncode != 0:
            raise SoakError(f"smart-meter history: {printed.stderr.strip()[-300:]}")
        return [int(json.loads(line)["values"]["counter"]) for line in printed.stdout.splitlines()]

    def counted(self) -> tuple[int, int]:
        """Return how many samples the service has stored and not stored, from its last statistics line."""
        # The line omits counts of 0.
        pattern = r"^\[STATS\] .*\| Stored: (\d+)(?: \| Not stored: (\d+))?"
        found = re.findall(pattern, self.program.out, re.MULTILINE)
        stored, lost = found[-1] if found else ("", "")
        return int(stored or 0), int(lost or 0)


@contextmanager
def suppress_no_space() -> Iterator[None]:
    """Suppress the error that no space is left."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@dataclass(slots=True)
class Tally:
    """The counts of one way of acknowledging."""

    acknowledged: int = 0
    refused: int = 0
    reads: int = 0
    counted_lost: int = 0
    resumed: float = 0.0
    """The longest time in seconds from free space on the disk to the resumed recording."""


def run(times: int, log: Callable[[str], None]) -> Outcome:
    """Fill the disk `times` times with group commits, and as often with a commit before each reply."""
    ledger = Ledger()
    log("group commits")
    grouped = _fill_and_free(times, 0.05, ledger, log)
    log("a commit before each reply")
    strict = _fill_and_free(times, 0, ledger, log)
    ledger.expect(grouped.refused == 0, f"{grouped.refused} writes were refused despite group commits")
    ledger.expect(strict.refused > 0, "no write was refused although its sample could not be stored")
    reads = grouped.reads + strict.reads
    acknowledged = grouped.acknowledged + strict.acknowledged
    return ledger.outcome(
        f"disk full and freed again under write load, commit_interval = 0.05 and 0 ({_SIZE_MIB} MiB tmpfs)",
        f"{count(2 * times, 'time')}; {count(acknowledged, 'acknowledged sample')}",
        f"{grouped.counted_lost + strict.counted_lost} acknowledged samples, as counted by the service; "
        f"0 of {reads:,} reads; recording resumed after {max(grouped.resumed, strict.resumed):.1f} s; "
        f"{strict.refused:,} writes got exception 04 (commit_interval = 0)",
    )


def _fill_and_free(times: int, interval: float, ledger: Ledger, log: Callable[[str], None]) -> Tally:
    tally = Tally()
    setting = f"commit_interval = {interval:g}"
    with work_folder("disk") as folder:
        disk = Disk(folder, interval)
        with ending(disk.program), _load(disk) as (writers, reader):
            for number in range(1, times + 1):
                _fill_once(disk, tally, ledger, setting)
                log(f"filled and freed {number} of {times} times")
            for writer in writers:
                writer.stop()
            reader.stop.set()
            acknowledged = {counter for writer in writers for counter in writer.acknowledged}
            # Samples that still wait are written with the next commit.
            wait_until(lambda: len(acknowledged) - len(disk.recorded()) <= disk.counted()[1], 10, pause=0.5)
            found = disk.recorded()
            tally.acknowledged = len(acknowledged)
            tally.refused = sum(writer.refused for writer in writers)
            wrong = sum(writer.wrong for writer in writers)
            tally.counted_lost = disk.counted()[1] if interval else 0
            missing = len(acknowledged - set(found))
            ledger.expect(
                missing <= tally.counted_lost,
                f"{missing} acknowledged samples are missing, {tally.counted_lost} were counted ({setting})",
            )
            ledger.expect(len(found) == len(set(found)), f"samples were stored twice ({setting})")
            ledger.expect(wrong == 0, f"{wrong} writes got a wrong reply ({setting})")
            code, _ = disk.program.stop()
            ledger.expect(code == 0, f"the program ended with exit code {code} ({setting})")
        ledger.expect(reader.wrong == 0, f"{reader.wrong} reads got a wrong reply or none ({setting})")
        ledger.expect(reader.reads > 100 * times, f"only {reader.reads} reads ({setting})")
        tally.reads = reader.reads
    return tally


def _fill_once(disk: Disk, tally: Tally, ledger: Ledger, setting: str) -> None:
    """Fill the disk, wait until that is logged, free the disk, and wait until recording resumes."""
    program = disk.program
    notices = program.out.count(_NOTICE)

    def has_logged(text: str) -> bool:
        return text in _NOTICE.join(program.out.split(_NOTICE)[notices + 1 :])

    with disk.full():
        noticed = wait_until(lambda: has_logged("no space is left"), _NOTICE_SECONDS)
        ledger.expect(noticed, f"the full disk was not logged ({setting})")
        time.sleep(_FULL_SECONDS)
        stored = disk.counted()[0]
    freed = time.monotonic()
    resumed = wait_until(lambda: has_logged("recording again"), _RESUME_SECONDS)
    tally.resumed = max(tally.resumed, time.monotonic() - freed)
    ledger.expect(resumed, f"recording did not resume within {_RESUME_SECONDS:g} s ({setting})")
    grows = wait_until(lambda: disk.counted()[0] > stored, 5)
    ledger.expect(grows, f"no sample was stored after the disk was freed ({setting})")


@contextmanager
def _load(disk: Disk) -> Iterator[tuple[list[Writer], Reader]]:
    """Write and read in the background during the block."""
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
            writer.stopping.set()
        reader.stop.set()
        reading.join()
