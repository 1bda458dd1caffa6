"""Compiles the C programs of the benchmark if their source is newer, runs them and parses their output."""

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
    """How a client reaches a server: the server's address and the client's source address."""

    to: str = HOST
    source: str = "0.0.0.0"  # noqa: S104 - the address that the kernel picks


# The two zones of the default configuration, in the network namespace that the benchmark runs in.
FIELD = Way("192.168.1.100", "192.168.1.50")
CONTROL = Way("192.168.2.100", "192.168.2.10")


@dataclass(frozen=True, slots=True)
class Ways:
    """How a server's readers and writers reach it."""

    readers: Way = Way()
    writers: Way = Way()


ZONES = Ways(CONTROL, FIELD)
READ = 3
WRITE_ONE = 6
WRITE = 16
WARM_UP = 0.3
"""Seconds before times are recorded; faults count from the beginning."""
LOST_AFTER = 1.0
"""Seconds after which an unanswered request is lost."""


class BenchError(Exception):
    """The benchmark can't continue."""


@dataclass(frozen=True, slots=True)
class Group:
    """Connections that all send the same kind of request."""

    function: int
    connections: int
    depth: int = 1
    """Requests in flight on each connection."""
    rate: float = 0
    """Requests per second of all connections, due at fixed times; 0: as fast as the server answers."""
    expect: str = "preset"
    """The values that readers must get: "preset", or "sample" if there are writers."""

    def argument(self, ways: Ways) -> str:
        """Return the group as an argument of load.c."""
        way = ways.readers if self.function == READ else ways.writers
        return (
            f"function={self.function},connections={self.connections},depth={self.depth},"
            f"rate={self.rate:.3f},expect={self.expect},to={way.to},from={way.source}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one group of connections; times in microseconds."""

    rate: float
    """Correct replies per second."""
    sent: int
    answered: int
    """Correct replies, warm-up included."""
    begun: int
    """Samples of which a write was sent."""
    written: int
    """Samples whose last write was answered correctly, warm-up included."""
    wrong: int
    lost: int
    closed: int
    """Connections that were closed before the end of the load."""
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
        self._begun = 0

    def run(self, seconds: float, *groups: Group, lost_after: float = LOST_AFTER) -> list[Outcome]:
        """Run all groups at the same time for `seconds`; return the outcome of each."""
        arguments: list[str] = []
        for group in groups:
            arguments += ["--group", group.argument(self._ways)]
        times = ["--seconds", str(seconds), "--warm-up", str(WARM_UP), "--timeout", str(lost_after)]
        first = ["--first", str(self._begun)]
        command = [str(program("load")), HOST, str(self._port), *times, *first, *arguments]
        timeout = seconds + WARM_UP + 2 * lost_after + 30
        printed = _run(command, self._cpu, timeout)["groups"]
        self._begun += sum(record["begun"] for record in printed)
        names = Outcome.__dataclass_fields__
        return [Outcome(**{name: record[name] for name in names}) for record in printed]


class BadFrames:
    """A client that sends bad frames during the load, at most until the block ends."""

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
        """Wait until it ends; return how many frames were sent."""
        out, err = self._process.communicate(timeout=60)
        if self._process.returncode != 0:
            raise BenchError(f"bad_frames failed: {err.strip()}")
        sent: int = json.loads(out)["sent"]
        return sent


def program(name: str, *libraries: str) -> Path:
    """Return the compiled program for a source in this folder, such as "peers/libmodbus_server"."""
    source = FOLDER / f"{name}.c"
    target = CACHE / source.stem
    newest = max(file.stat().st_mtime for file in (source, *FOLDER.glob("*.h")))
    if not target.exists() or target.stat().st_mtime < newest:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(target), str(source), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{source.name} does not compile:\n{done.stderr}")
    return target


def _run(command: list[str], cpu: int, timeout: float) -> dict[str, Any]:
    with on_cpu(cpu):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        raise BenchError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    record: dict[str, Any] = json.loads(done.stdout)
    return record
