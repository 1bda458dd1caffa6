"""The servers under test, each as a process of its own on the servers' CPU."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine import Cpus, on_cpu
from bench.programs import CACHE, FOLDER, HOST, ZONES, BenchError, Way, Ways, program
from bench.samples import PRESET

PATIENCE = 20.0
"""Seconds for what takes a second at most."""
MAX_CONNECTIONS = 2000
"""All clients of the benchmark come from one address, which a field host would not."""
READ_PRESET = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, len(PRESET))
WRITE_PRESET = struct.pack(f">HHHBBHHB{len(PRESET)}H", 2, 0, 23, 1, 16, 0, len(PRESET), 16, *PRESET)


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that can be started."""

    key: str
    title: str
    command: Callable[[Path, int], list[str]]
    """Returns the command for a folder of its own and a port."""
    ours: bool = False
    """Whether it is this concentrator, whose losses fail the benchmark."""
    records: bool = False
    """Whether it keeps a history, which is counted."""
    ways: Ways = Ways()  # noqa: RUF009 - it can't be changed
    """How its readers and its writers reach it."""


def kinds() -> dict[str, Kind]:
    """Return the servers by key; pymodbus on uvloop only where uvloop is installed."""
    pymodbus = f"pymodbus {importlib.metadata.version('pymodbus')}"
    found = [
        Kind("ours", "smart-meter", _ours, ours=True, records=True, ways=ZONES),
        Kind("ours-no-history", "smart-meter, history off", _ours_without_history, ours=True, ways=ZONES),
        Kind("libmodbus", _libmodbus_title(), _libmodbus),
        Kind("pymodbus", pymodbus, _pymodbus),
        Kind("pymodbustcp", f"pyModbusTCP {importlib.metadata.version('pyModbusTCP')}", _pymodbustcp),
    ]
    if importlib.util.find_spec("uvloop") is not None:
        found.append(Kind("pymodbus-uvloop", f"{pymodbus}, uvloop", _pymodbus_uvloop))
    return {kind.key: kind for kind in found}


_HISTORY = """[history]
path = "{path}"
max_samples_per_second = 0
"""


def configuration(history: Path | None) -> str:
    """Return the concentrator's configuration with everything on at its default; history where given.

    The history takes every sample: with its default budget of 10 a second, most would not be stored.
    """
    limits = (
        f"[server]\nmax_connections = {MAX_CONNECTIONS}\nmax_connections_per_client = {MAX_CONNECTIONS}\n"
    )
    return limits + (_HISTORY.format(path=history) if history is not None else "")


class Server:
    """One server from its start to its end, in a block; answers when the block begins."""

    def __init__(self, kind: Kind, folder: Path, cpus: Cpus) -> None:
        self.kind = kind
        self.port = _free_port()
        self.start_ms = 0.0
        """From the process's start to its first right answer."""
        self._folder = folder
        # Whatever ends the benchmark, the kernel ends its servers with it.
        self._command = ["setpriv", "--pdeathsig", "KILL", *kind.command(folder, self.port)]
        self._cpus = cpus
        self._process: subprocess.Popen[bytes] | None = None
        self._memory: tempfile.TemporaryDirectory[str] | None = None
        """What /run/smart-meter is on a Pi: samples that are not on disk yet lie there, too."""

    def __enter__(self) -> Server:
        self._memory = tempfile.TemporaryDirectory(prefix="smart-meter-bench-", dir="/dev/shm")
        with self._output.open("wb") as output, on_cpu(self._cpus.server):
            began = time.perf_counter()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(self._memory.name),
            )
        try:
            with on_cpu(self._cpus.load):
                self._wait_for_answer(self._process)
            self.start_ms = (time.perf_counter() - began) * 1000
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process; ours writes its history out. Raises BenchError where it had ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        ended = process.poll()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            if self._memory is not None:
                self._memory.cleanup()
        if ended is not None:
            raise BenchError(f"{self.kind.title} ended by itself with {ended}:\n{self._told()}")

    def preset(self) -> None:
        """Write the values that readers expect."""
        with self._connection(self.kind.ways.writers) as connection:
            connection.sendall(WRITE_PRESET)
            _receive(connection, 12)

    def connect(self) -> socket.socket:
        """Return a connection that has been served: one read was answered."""
        connection = self._connection(self.kind.ways.readers)
        connection.sendall(READ_PRESET)
        reply = _receive(connection, 25)
        if reply[:9] != struct.pack(">HHHBBB", 1, 0, 19, 1, 3, 16):
            raise BenchError(f"{self.kind.title} answered {reply.hex(' ')}")
        return connection

    def _connection(self, way: Way) -> socket.socket:
        try:
            return socket.create_connection((way.to, self.port), PATIENCE, source_address=(way.source, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                message = (
                    f"{way.source} is not an address of this network namespace; start it with: make bench"
                )
                raise BenchError(message) from error
            raise

    def memory_mib(self) -> float:
        """Return the resident memory of the process and all its children."""
        assert self._process is not None
        return sum(_resident_kib(pid) for pid in _family(self._process.pid)) / 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process and its children have used."""
        assert self._process is not None
        return sum(_cpu_ticks(pid) for pid in _family(self._process.pid)) / os.sysconf("SC_CLK_TCK")

    def samples_on_disk(self) -> list[bytes]:
        """Return the registers of each row of the history; the server has ended."""
        if not self._history.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._history}?mode=ro", uri=True)) as connection:
            return [bytes(registers) for (registers,) in connection.execute("SELECT registers FROM samples")]

    @property
    def _history(self) -> Path:
        return self._folder / HISTORY

    @property
    def _output(self) -> Path:
        return self._folder / "output"

    def _told(self) -> str:
        return self._output.read_text(errors="replace")[-2000:].strip()

    def _wait_for_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BenchError(
                    f"{self.kind.title} ended at once with {process.returncode}:\n{self._told()}"
                )
            with suppress(OSError):
                self.connect().close()
                return
            time.sleep(0.0002)
        raise BenchError(f"{self.kind.title} did not answer within {PATIENCE:g} s")


HISTORY = "history.db"


def _ours(folder: Path, port: int) -> list[str]:
    return _our_command(folder, port, folder / HISTORY)


def _ours_without_history(folder: Path, port: int) -> list[str]:
    return _our_command(folder, port, None)


def _our_command(folder: Path, port: int, history: Path | None) -> list[str]:
    path = folder / "config.toml"
    path.write_text(configuration(history))
    # With its two zones, as at a site: in a trial, one peer is both reader and writer.
    where = ["--host", "0.0.0.0", "--port", str(port)]  # noqa: S104 - in a network namespace of its own
    return [sys.executable, "-m", "smart_meter", "run", "--config", str(path), *where]


def _libmodbus(_: Path, port: int) -> list[str]:
    return [str(program("peers/libmodbus_server", "-lmodbus")), HOST, str(port)]


def _pymodbus(_: Path, port: int) -> list[str]:
    return _peer("pymodbus_server", port)


def _pymodbus_uvloop(_: Path, port: int) -> list[str]:
    return _peer("pymodbus_server", port, "uvloop")


def _pymodbustcp(_: Path, port: int) -> list[str]:
    return _peer("pymodbustcp_server", port)


def _peer(module: str, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", f"bench.peers.{module}", HOST, str(port), *more]


def _environment(runtime: str) -> dict[str, str]:
    """Return the environment without what would change a server's ways."""
    foreign = ("NOTIFY_", "WATCHDOG_", "LISTEN_", "PYTHON")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    path = f"{FOLDER.parent}:{FOLDER.parent / 'src'}"
    return {**inherited, "PYTHONPATH": path, "RUNTIME_DIRECTORY": runtime}


def _free_port() -> int:
    """Return a port that nobody listens on, below those that the kernel gives to clients."""
    for port in random.sample(range(20000, 30000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104 - as the concentrator does
            return port
    raise BenchError("no port from 20000 to 29999 is free")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionResetError(f"closed after {len(data)} of {size} bytes")
        data += part
    return data


def _family(pid: int) -> list[int]:
    family: list[int] = [pid]
    for member in family:
        for task in Path(f"/proc/{member}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has ended
                family += map(int, (task / "children").read_text().split())
    return family


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError(f"process {pid} has ended")


def _cpu_ticks(pid: int) -> int:
    # proc(5): the fields behind the command's name, of which utime and stime are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _libmodbus_title() -> str:
    # Without the header, the server can't be compiled either, and that is an error of its own.
    with suppress(FileNotFoundError):
        for line in Path("/usr/include/modbus/modbus-version.h").read_text().splitlines():
            if line.startswith("#define LIBMODBUS_VERSION_STRING"):
                return "libmodbus " + line.split('"')[1]
    return "libmodbus"


def hold(server: Server, count: int) -> list[socket.socket]:
    """Return so many connections that all have been served."""
    held: list[socket.socket] = []
    try:
        held.extend(server.connect() for _ in range(count))
    except OSError as error:
        release(held)
        raise BenchError(f"{server.kind.title} refused connection {len(held) + 1}: {error}") from error
    return held


def release(connections: Sequence[socket.socket]) -> None:
    """Close connections."""
    for connection in connections:
        connection.close()


def folder_for_runs() -> Path:
    """Return where servers get their folders: on a disk, where a commit costs what it costs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return CACHE
