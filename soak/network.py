"""A link with loss, delay and outages: stale connections are closed, and the ESP32 reconnects by itself."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.integration.networks import LINKS, OTHER_END, PI, Networks
from tests.integration.program import Connection, Program
from tests.unit.wire import read

from smart_meter.config import FIELD_ZONE
from soak.links import Link, link
from soak.machine import ending, wait_until, work_folder
from soak.places import CONTROL, FIELD, networks
from soak.report import Ledger, Outcome, count

IDLE_TIMEOUT = 3
FRAME_TIMEOUT = 2
_MARGIN = 2.0
"""Seconds in addition to the time-out, since the server checks its connections once a second."""
_RECONNECT_SECONDS = 12.0
"""The simulator waits 3 s for a reply, and TCP doubles the time between retransmissions."""
_IMPAIRED_SECONDS = 6.0
_LOSS, _DELAY, _JITTER = 0.1, 0.03, 0.015
_PORT = 502
_NOT_STALE = ("0A", "06")  # include/net/tcp_states.h: TCP_LISTEN, TCP_TIME_WAIT (belongs to no process)
_CONFIG = f"""
[server]
idle_timeout = {IDLE_TIMEOUT}
frame_timeout = {FRAME_TIMEOUT}
[journal]
statistics_interval = 1
"""


class Field:
    """The field host: a simulator that writes, and other clients that stop responding."""

    def __init__(self, places: Networks, program: Program, folder: Path) -> None:
        self._places = places
        self._program = program
        self._clients: list[Connection] = []
        arguments = ("simulate", "esp32", "--to", str(FIELD_ZONE.address), "--interval", "0.1")
        self.esp32 = Program(arguments, folder, prefix=places.within(FIELD))

    def written(self) -> int:
        """Return how many samples the simulator has written."""
        return self.esp32.out.count("ESP32 wrote")

    def seconds_to_next_sample(self, timeout: float) -> float | None:
        """Wait for the next sample; return how many seconds it took, or None after the time-out."""
        started, before = time.monotonic(), self.written()
        arrived = wait_until(lambda: self.written() > before, timeout)
        return time.monotonic() - started if arrived else None

    def open_clients(self) -> int:
        """Connect clients that are idle, have sent half a frame, or do not read replies; return how many."""
        with self._places.inside(FIELD):
            for _ in range(8):
                self._clients.append(Connection(_PORT, str(FIELD_ZONE.address)))
                self._clients[-1].ask(read(0, 8))
            for _ in range(8):
                self._clients.append(Connection(_PORT, str(FIELD_ZONE.address)))
                self._clients[-1].send(read(0, 8)[:7])
            for _ in range(4):
                self._clients.append(Connection(_PORT, str(FIELD_ZONE.address)))
                _fill(self._clients[-1].socket)
        return len(self._clients)

    def close_clients(self) -> None:
        """Close their sockets. What the kernel would still send is lost, since the link is down."""
        for client in self._clients:
            client.socket.close()
        self._clients.clear()

    def connections(self) -> int:
        """Return how many connections the Pi's kernel has with the field network, in any open state."""
        prefix = FIELD_ZONE.network.network_address.packed[:3]
        found = 0
        for line in Path(f"/proc/{self._program.process.pid}/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state = line.split()[:4]
            address = bytes.fromhex(remote.partition(":")[0])[::-1]
            found += (
                int(local.partition(":")[2], 16) == _PORT
                and address[:3] == prefix
                and state not in _NOT_STALE
            )
        return found

    def served(self) -> int:
        """Return the number of connections in the service's last statistics line."""
        return int(re.findall(r"^\[STATS\] .*\(now (\d+)\)", self._program.out, re.MULTILINE)[-1])


def _fill(sock: socket.socket) -> None:
    """Send requests without reading replies until every buffer is full."""
    # Small buffers, since large ones take longer to fill than the server waits.
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4096)
    sock.setblocking(False)
    try:
        while sock.send(read(0, 8) * 1000):
            time.sleep(0.001)
    except BlockingIOError:
        return


def run(times: int, seed: int, log: Callable[[str], None]) -> Outcome:
    """Cut the link `times` times, each time after a while with loss and delay."""
    ledger = Ledger()
    closed_after: list[float] = []
    resumed_after: list[float] = []
    stale = opened = written_impaired = 0
    with _setup(seed) as (field, opta, wire, places):
        ledger.expect(field.seconds_to_next_sample(10) is not None, "the ESP32 did not start writing")
        for number in range(times):
            log(f"{_LOSS:.0%} loss, {_DELAY * 1000:g} ms delay")
            before = field.written()
            wire.impair(_LOSS, _DELAY, _JITTER)
            time.sleep(_IMPAIRED_SECONDS)
            written_impaired += field.written() - before
            wire.impair()
            writes = field.seconds_to_next_sample(_RECONNECT_SECONDS) is not None
            ledger.expect(writes, "the ESP32 stopped under loss and delay")
            opened += field.open_clients()
            # In turn, all frames are lost, which neither end notices, or the link is down.
            link_down = number % 2 == 1
            log("the link is down" if link_down else "all frames are lost")
            _cut(places, wire, link_down)
            field.close_clients()
            cut = time.monotonic()
            wait_until(lambda: field.connections() == 0, IDLE_TIMEOUT + _MARGIN)
            closed_after.append(time.monotonic() - cut)
            left = field.connections()
            stale += left
            ledger.expect(left == 0, f"{left} connections are stale after their time-out")
            agree = wait_until(lambda: field.served() <= 1, 3)
            ledger.expect(agree, f"the service counts {field.served()} connections, but has only Opta's")
            _restore(places, wire, link_down)
            after = field.seconds_to_next_sample(_RECONNECT_SECONDS)
            ledger.expect(after is not None, f"the ESP32 did not write within {_RECONNECT_SECONDS:g} s")
            resumed_after += [] if after is None else [after]
        ledger.expect(written_impaired > 0, "no sample was written during loss and delay")
        missed = opta.out.count("trying again")
        reads = opta.out.count("Opta read")
        ledger.expect(missed == 0 and opta.process.poll() is None, f"Opta got no reply {missed} times")
        ledger.expect(reads > times * 20, f"Opta read only {reads} times")
        implementation = wire.implementation
    return ledger.outcome(
        f"{_LOSS:.0%} loss with {_DELAY * 1000:g} ms delay, then no link, by {implementation}",
        f"{count(times, 'partition')}; {count(opened, 'connection')} idle, within a frame or not reading",
        f"{stale} stale connections {max(closed_after):.1f} s after the cut (time-out {IDLE_TIMEOUT} s); "
        f"ESP32 reconnected by itself {len(resumed_after)} of {times} times, "
        f"{max(resumed_after, default=0):.1f} s after the link was back; 0 of Opta's {reads:,} reads",
    )


def _cut(places: Networks, wire: Link, link_down: bool) -> None:
    if link_down:
        places.ip(FIELD, "link", "set", OTHER_END, "down")
    else:
        wire.impair(loss=1)


def _restore(places: Networks, wire: Link, link_down: bool) -> None:
    if link_down:
        places.ip(FIELD, "link", "set", OTHER_END, "up")
    else:
        wire.impair()


@contextmanager
def _setup(seed: int) -> Iterator[tuple[Field, Program, Link, Networks]]:
    """Start the concentrator, an ESP32 and an Opta, each on a separate host."""
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder("network"))
        places = stack.enter_context(networks(CONTROL))
        places.add_host(FIELD)
        wire = stack.enter_context(link(places, FIELD, LINKS[FIELD], seed))
        config = folder / "config.toml"
        config.write_text(_CONFIG)
        program = Program(("run", "--config", str(config)), folder, prefix=places.within(PI))
        stack.enter_context(ending(program))
        program.wait_for("^Waiting for:$")
        field = Field(places, program, folder)
        stack.enter_context(ending(field.esp32))
        reading = ("simulate", "opta", "--to", LINKS[CONTROL][1].partition("/")[0], "--interval", "0.05")
        opta = stack.enter_context(ending(Program(reading, folder, prefix=places.within(CONTROL))))
        opta.wait_for("^Opta read")
        program.wait_for(r"^\[STATS\]")
        yield field, opta, wire, places
