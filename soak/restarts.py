"""Restarts under load, with the port bound by the program itself and with a socket that stays open."""

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

COMERS = 3
READERS = 3
_BACKLOG = 4096
_BETWEEN = 0.15
"""Seconds of load between a start and the next stop."""
_STOP_SECONDS = 2.0
_HOST = "127.0.0.1"
_REQUEST = read(0, len(SAMPLE_REGISTERS))
_REPLY = answer(1, SAMPLE_REGISTERS)


class Binding(enum.Enum):
    """Who opens the port."""

    PLAIN = "the port bound anew each time"
    SOCKET = "the socket kept open (socket activation)"


@dataclass(slots=True)
class Load:
    """What clients that come and go, and clients that stay, met."""

    attempts: int = 0
    turned_away: int = 0
    """Connections that could not be made, or whose first request got no answer."""
    reasons: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    cut_off: int = 0
    """Requests of clients that stayed, whose connection ended instead of an answer."""
    wrong: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn_away(self, reason: str) -> None:
        """Count an attempt that came to nothing."""
        with self.lock:
            self.turned_away += 1
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def come_and_go(self, port: int) -> None:
        """Connect, read once, close, again and again."""
        while not self.stop.is_set():
            with self.lock:
                self.attempts += 1
            try:
                with Connection(port) as client:
                    reply = _ask(client)
            except OSError as error:
                self.turn_away(f"{type(error).__name__} at the connection")
                # A port that nobody listens on refuses at once: not to be asked in a tight loop.
                time.sleep(0.005)
                continue
            if not reply:
                self.turn_away("closed before its first answer")
            with self.lock:
                self.wrong += reply not in (_REPLY, b"")
            self.stop.wait(0.002)

    def stay(self, port: int) -> None:
        """Read over one connection for as long as it lasts."""
        while not self.stop.is_set():
            try:
                client = Connection(port)
            except OSError:
                time.sleep(0.005)
                continue
            with client:
                while not self.stop.wait(0.002) and not _has_ended(client):
                    reply = _ask(client)
                    with self.lock:
                        self.reads += 1
                        self.cut_off += not reply
                        self.wrong += reply not in (_REPLY, b"")
                    if not reply:
                        break


def _ask(client: Connection) -> bytes:
    """Return the reply; nothing where the connection ends without one."""
    try:
        return client.ask(_REQUEST)
    except ConnectionError:
        return b""


def _has_ended(client: Connection) -> bool:
    """Whether the server has told that no more replies come: a request would be sent in vain."""
    # Nothing was asked, so all that there can be to receive is the end.
    return bool(select.select([client.socket], [], [], 0)[0])


class Starter:
    """Starts the concentrator on the same port again and again."""

    def __init__(self, binding: Binding, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "config.toml"
        # The history brings the values back, so that readers know what to expect after a restart, too.
        self._config.write_text(f'[history]\npath = "{folder}/history.db"\n')
        # In both modes: with plain binding it is closed at once, and has found a port that is free.
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
        """Return the program, which is not ready yet."""
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
        """Wait until a program answers."""
        program.wait_for("^Waiting for:$")
        with Connection(self.port) as client:
            client.ask(_REQUEST)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def run(restarts: int, binding: Binding, say: Callable[[str], None]) -> Outcome:
    """Restart so many times."""
    ledger = Ledger()
    load = Load()
    away = longest = 0.0
    with work_folder("restarts") as folder:
        starter = Starter(binding, folder)
        program = starter.start()
        threads = [
            threading.Thread(target=target, args=(starter.port,), daemon=True)
            for target in (*[load.come_and_go] * COMERS, *[load.stay] * READERS)
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
                ledger.expect(code == 0, f"a clean end: exit code {code}, {program.err[-200:]!r}")
                program = starter.start()
                starter.wait_for(program)
                away = max(away, time.monotonic() - stopped)
                if number % 10 == 0:
                    say(f"{number} of {restarts} restarts, {load.turned_away} connections turned away")
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
        ledger.expect(load.turned_away == 0, f"{load.turned_away} connection attempts ({reasons})")
    ledger.expect(load.attempts > 10 * restarts, f"only {load.attempts} connections were tried")
    ledger.expect(load.wrong == 0, f"{load.wrong} wrong answers")
    ledger.expect(longest < _STOP_SECONDS, f"a stop took {longest:.1f} s")
    return ledger.outcome(
        f"restarts under load, {binding.value}",
        f"{count(restarts, 'restart')}; {count(load.attempts, 'connection attempt')}, "
        f"{count(load.reads, 'read')}",
        f"{count(load.turned_away, 'connection attempt')}{f' ({reasons})' if reasons else ''}; "
        f"{count(load.cut_off, 'request')} just under way when a connection ended; "
        f"away {away:.2f} s at most",
    )
