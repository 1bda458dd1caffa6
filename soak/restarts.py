"""Restarts under load. Either the program binds the port itself, or a socket stays open."""

from __future__ import annotations

import enum
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.networks import WITH_US
from tests.integration.program import Connection, Program
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, write

from soak.machine import work_folder
from soak.report import Ledger, Outcome, count

SHORT_CLIENTS = 3
"""Clients that connect for each read."""
LASTING_CLIENTS = 3
"""Clients that keep their connection."""
_BACKLOG = 4096
_BETWEEN = 0.15
"""Seconds of load between a start and the next stop."""
_STOP_SECONDS = 2.0
_HOST = "127.0.0.1"
_REQUEST = read(0, len(SAMPLE_REGISTERS))
_REPLY = answer(1, SAMPLE_REGISTERS)


class Binding(enum.Enum):
    """Who opens the port."""

    PLAIN = "the port bound again each time"
    SOCKET = "the socket kept open (socket activation)"


@dataclass(slots=True)
class Load:
    """The results of clients with short connections and with lasting connections."""

    attempts: int = 0
    failed: int = 0
    """Connections that were refused, or whose first request got no reply."""
    reasons: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    cut_off: int = 0
    """Requests over lasting connections that ended before the reply."""
    wrong: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, reason: str) -> None:
        """Count a failed attempt."""
        with self.lock:
            self.failed += 1
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def connect_repeatedly(self, port: int) -> None:
        """Connect, read once and close, repeatedly."""
        while not self.stop.is_set():
            with self.lock:
                self.attempts += 1
            try:
                with Connection(port) as client:
                    reply = _read(client)
            except OSError as error:
                self.fail(f"{type(error).__name__} while connecting")
                # Without a listener the kernel refuses at once; avoid a tight loop.
                time.sleep(0.005)
                continue
            if not reply:
                self.fail("closed before the first reply")
            with self.lock:
                self.wrong += reply not in (_REPLY, b"")
            self.stop.wait(0.002)

    def stay_connected(self, port: int) -> None:
        """Read over one connection as long as it lasts, then reconnect."""
        while not self.stop.is_set():
            try:
                client = Connection(port)
            except OSError:
                time.sleep(0.005)
                continue
            with client:
                while not self.stop.wait(0.002) and not _has_ended(client):
                    reply = _read(client)
                    with self.lock:
                        self.reads += 1
                        self.cut_off += not reply
                        self.wrong += reply not in (_REPLY, b"")
                    if not reply:
                        break


def _read(client: Connection) -> bytes:
    """Return the reply; empty if the connection ends before it."""
    try:
        return client.ask(_REQUEST)
    except ConnectionError:
        return b""


def _has_ended(client: Connection) -> bool:
    """Return whether the server has closed the connection, so that a request would not be answered."""
    # No reply is due, so only the end of the connection can make the socket readable.
    return bool(select.select([client.socket], [], [], 0)[0])


class Starter:
    """Starts the concentrator repeatedly on the same port."""

    def __init__(self, binding: Binding, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "config.toml"
        # With a history the values are restored, so that the replies are the same after a restart.
        self._config.write_text(f'[history]\npath = "{folder}/history.db"\nmax_samples_per_second = 0\n')
        # In both modes. With plain binding, it only finds a free port, and is closed at once.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((_HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        if binding is Binding.SOCKET:
            self._socket.listen(_BACKLOG)
        else:
            self._socket.close()
        self._binding = binding

    def start(self) -> Program:
        """Start the program, without waiting until it is ready."""
        prefix: tuple[str, ...] = WITH_US
        descriptors: tuple[int, ...] = ()
        port = ("--port", str(self.port))
        if self._binding is Binding.SOCKET:
            number = self._socket.fileno()
            prefix = (*WITH_US, sys.executable, str(Path(__file__).with_name("activate.py")), str(number))
            descriptors = (number,)
        return Program(
            ("run", "--trial", "--config", str(self._config), *port),
            self._folder,
            prefix=prefix,
            pass_fds=descriptors,
        )

    def wait_for(self, program: Program) -> None:
        """Wait until a program answers requests."""
        program.wait_for("^Waiting for:$")
        with Connection(self.port) as client:
            client.ask(_REQUEST)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def run(restarts: int, binding: Binding, log: Callable[[str], None]) -> Outcome:
    """Restart the program `restarts` times."""
    ledger = Ledger()
    load = Load()
    downtime = longest = 0.0
    with work_folder("restarts") as folder:
        starter = Starter(binding, folder)
        program = starter.start()
        threads = [
            threading.Thread(target=target, args=(starter.port,), daemon=True)
            for target in (
                *[load.connect_repeatedly] * SHORT_CLIENTS,
                *[load.stay_connected] * LASTING_CLIENTS,
            )
        ]
        try:
            starter.wait_for(program)
            with Connection(starter.port) as writer:
                writer.ask(write(0))
            for thread in threads:
                thread.start()
            for number in range(1, restarts + 1):
                time.sleep(_BETWEEN)
                code, seconds = program.stop()
                stopped = time.monotonic()
                longest = max(longest, seconds)
                ledger.expect(code == 0, f"the program ended with {code}, {program.err[-200:]!r}")
                program = starter.start()
                starter.wait_for(program)
                downtime = max(downtime, time.monotonic() - stopped)
                if number % 10 == 0:
                    log(f"{number} of {restarts} restarts, {load.failed} connection attempts failed")
            time.sleep(_BETWEEN)
        finally:
            load.stop.set()
            for thread in threads:
                if thread.is_alive():
                    thread.join()
            program.kill()
            starter.close()
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(load.reasons.items()))
    if binding is Binding.SOCKET:
        ledger.expect(load.failed == 0, f"{load.failed} connection attempts failed ({reasons})")
    ledger.expect(load.attempts > 10 * restarts, f"only {load.attempts} connection attempts")
    ledger.expect(load.wrong == 0, f"{load.wrong} wrong replies")
    ledger.expect(longest < _STOP_SECONDS, f"a stop took {longest:.1f} s")
    return ledger.outcome(
        f"restarts under load, {binding.value}",
        f"{count(restarts, 'restart')}; {count(load.attempts, 'connection attempt')}, "
        f"{count(load.reads, 'read')}",
        f"{count(load.failed, 'connection attempt')}{f' ({reasons})' if reasons else ''}; "
        f"{count(load.cut_off, 'request')} in progress when a connection ended; "
        f"unavailable for {downtime:.2f} s at most",
    )
