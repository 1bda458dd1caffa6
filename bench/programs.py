"""The C programs of the benchmark: compiled where their source is newer, run, and read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import on_cpu

FOLDER = Path(__file__).parent
CACHE = FOLDER.parent / ".cache" / "bench"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Way:
    """How a client reaches a server: the server's address, and the address that the client speaks from."""

    to: str = HOST
    source: str = "0.0.0.0"  # noqa: S104 - whichever the kernel picks


# The two zones of the default configuration, in the network namespace that the benchmark is started in.
FIELD = Way("192.168.1.100", "192.168.1.50")
CONTROL = Way("192.168.2.100", "192.168.2.10")


@dataclass(frozen=True, slots=True)
class Ways:
    """How a server's readers and writers reach it."""

    readers: Way = Way()
    writers: Way = Way()


ZONES = Ways(CONTROL, FIELD)
READ = 3
WARM_UP = 0.3
"""Seconds before the figures count; what goes wrong counts from the beginning."""
LOST_AFTER = 1.0
"""Seconds after which an unanswered request is lost."""


class BenchError(Exception):
    """The benchmark itself can't go on."""


@dataclass(frozen=True, slots=True)
class Group:
    """Connections that all do the same."""

    function: int
    connections: int
    depth: int = 1
    """Requests in flight on each."""
    rate: float = 0
    """Requests a second of them all, due at fixed times; 0: as fast as the server answers."""
    expect: str = "preset"
    """What readers must find: "preset", or "sample" where writers are about."""

    def argument(self, ways: Ways) -> str:
        """Return the group as load.c takes it, on its way to a server."""
        way = ways.readers if self.function == READ else ways.writers
        return (
            f"function={self.function},connections={self.connections},depth={self.depth},"
            f"rate={self.rate:.3f},expect={self.expect},to={way.to},from={way.source}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one group of connections met; times in microseconds."""

    rate: float
    """Right answers a second."""
    sent: int
    answered: int
    """Right answers, warm-up included."""
    wrong: int
    lost: int
    closed: int
    """Connections that ended before the load did."""
    p50: float
    p99: float
    p99_9: float
    max: float


class Load:
    """The load generator against one server."""

    def __init__(self, port: int, cpu: int, ways: Ways = Ways()) -> None:
        self._port = port
        self._ways = ways
        self._cpu = cpu
        self._written = 0

    def run(self, seconds: float, *groups: Group, lost_after: float = LOST_AFTER) -> list[Outcome]:
        """Return the outcome of each group, all having run side by side for so many seconds."""
        arguments: list[str] = []
        for group in groups:
            arguments += ["--group", group.argument(self._ways)]
        times = ["--seconds", str(seconds), "--warm-up", str(WARM_UP), "--timeout", str(lost_after)]
        first = ["--first", str(self._written)]
        command = [str(program("load")), HOST, str(self._port), *times, *first, *arguments]
        patience = seconds + WARM_UP + 2 * lost_after + 30
        printed = _run(command, self._cpu, patience)["groups"]
        for group, record in zip(groups, printed, strict=True):
            if group.function != READ:
                self._written += record["sent"]
        names = Outcome.__dataclass_fields__
        return [Outcome(**{name: record[name] for name in names}) for record in printed]


class BadFrames:
    """A client that sends bad frames beside the load, until the block ends."""

    def __init__(
        self, way: Way, port: int, cpu: int, *, rate: float, seconds: float, files: Sequence[Path]
    ) -> None:
        numbers = [str(port), str(rate), str(seconds)]
        with on_cpu(cpu):
            self._process = subprocess.Popen(
                [str(program("bad_frames")), way.to, way.source, *numbers, *map(str, files)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def __enter__(self) -> BadFrames:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def finish(self) -> int:
        """Wait for its end; return how many frames were sent."""
        out, err = self._process.communicate(timeout=60)
        if self._process.returncode != 0:
            raise BenchError(f"bad_frames failed: {err.strip()}")
        sent: int = json.loads(out)["sent"]
        return sent


def program(name: str, *libraries: str) -> Path:
    """Return the compiled program of a source in this folder, such as "peers/libmodbus_server"."""
    source = FOLDER / f"{name}.c"
    target = CACHE / source.stem
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(target), str(source), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{source.name} does not compile:\n{done.stderr}")
    return target


def _run(command: list[str], cpu: int, patience: float) -> dict[str, Any]:
    with on_cpu(cpu):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
    if done.returncode != 0:
        raise BenchError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    record: dict[str, Any] = json.loads(done.stdout)
    return record
