"""A link that loses, delays, and carries nothing: no connection stays, and the ESP32 is back by itself."""

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
"""Seconds beyond the time-out: the server looks at its connections once a second."""
_BACK_WITHIN = 12.0
"""Seconds: the simulator gives an answer 3 s, and TCP doubles the time between its tries."""
_TROUBLED = 6.0
_LOSS, _DELAY, _JITTER = 0.1, 0.03, 0.015
_PORT = 502
_NOT_STALE = ("0A", "06")  # include/net/tcp_states.h: TCP_LISTEN, and TCP_TIME_WAIT, which is nobody's
_CONFIG = f"""
[server]
idle_timeout = {IDLE_TIMEOUT}
frame_timeout = {FRAME_TIMEOUT}
[journal]
statistics_interval = 1
"""


class Field:
    """The field host: a simulator that writes, and clients that do nothing more."""

    def __init__(self, places: Networks, program: Program, folder: Path) -> None:
        self._places = places
        self._program = program
        self._clients: list[Connection] = []
        arguments = ("simulate", "esp32", "--to", str(FIELD_ZONE.address), "--interval", "0.1")
        self.esp32 = Program(arguments, folder, prefix=places.within(FIELD))

    def written(self) -> int:
        """Return how many samples the simulator has brought."""
        return self.esp32.out.count("ESP32 wrote")

    def writes_on(self, seconds: float) -> float | None:
        """Wait for the next sample; return after how many seconds it came, None where it did not."""
        began, before = time.monotonic(), self.written()
        came = wait_until(lambda: self.written() > before, seconds)
        return time.monotonic() - began if came else None

    def open_clients(self) -> int:
        """Connect clients that are idle, in mid-frame, or deaf to replies; return how many."""
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
        """Let their sockets go: what they would still send is lost with the link."""
        for client in self._clients:
            client.socket.close()
        self._clients.clear()

    def connections(self) -> int:
        """Return how many connections the Pi's kernel has with the field network, in any state but closed."""
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
        """Return how many connections the service itself counts, by its last statistics line."""
        return int(re.findall(r"^\[STATS\] .*\(now (\d+)\)", self._program.out, re.MULTILINE)[-1])


def _fill(sock: socket.socket) -> None:
    """Ask until the replies that nobody takes have filled every buffer."""
    # Small ones, or they take longer to fill than the server waits.
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 4096)
    sock.setblocking(False)
    try:
        while sock.send(read(0, 8) * 1000):
            time.sleep(0.001)
    except BlockingIOError:
        return


def run(times: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Cut the link so many times, after it has lost and delayed frames for a while."""
    ledger = Ledger()
    gone: list[float] = []
    back: list[float] = []
    stale = opened = through = 0
    with _course(seed) as (field, opta, wire, places):
        ledger.expect(field.writes_on(10) is not None, "the ESP32 did not begin")
        for number in range(times):
            say(f"{_LOSS:.0%} lost, {_DELAY * 1000:g} ms late")
            before = field.written()
            wire.trouble(_LOSS, _DELAY, _JITTER)
            time.sleep(_TROUBLED)
            through += field.written() - before
            wire.trouble()
            ledger.expect(field.writes_on(_BACK_WITHIN) is not None, "the ESP32 stopped under loss and delay")
            opened += field.open_clients()
            # First nothing crosses any more, and both ends notice nothing; the other time the link is down.
            switched_off = number % 2 == 1
            say("the link is down" if switched_off else "nothing crosses the link")
            _cut(places, wire, switched_off)
            field.close_clients()
            began = time.monotonic()
            wait_until(lambda: field.connections() == 0, IDLE_TIMEOUT + _MARGIN)
            gone.append(time.monotonic() - began)
            left = field.connections()
            stale += left
            ledger.expect(left == 0, f"{left} stale connections after their time-out")
            agree = wait_until(lambda: field.served() <= 1, 3)
            ledger.expect(
                agree, f"the service counts {field.served()} connections, and Opta's is the only one"
            )
            _join(places, wire, switched_off)
            after = field.writes_on(_BACK_WITHIN)
            ledger.expect(after is not None, f"the ESP32 was not back within {_BACK_WITHIN:g} s")
            back += [] if after is None else [after]
        ledger.expect(through > 0, "no sample came through loss and delay")
        missed = opta.out.count("trying again")
        reads = opta.out.count("Opta read")
        ledger.expect(missed == 0 and opta.process.poll() is None, f"{missed} times Opta had no answer")
        ledger.expect(reads > times * 20, f"Opta read only {reads} times")
        means = wire.means
    return ledger.outcome(
        f"{_LOSS:.0%} loss with {_DELAY * 1000:g} ms delay, then no link at all, by {means}",
        f"{count(times, 'partition')}; {count(opened, 'connection')} idle, in mid-frame or deaf",
        f"{stale} stale connections {max(gone):.1f} s after the cut (time-out {IDLE_TIMEOUT} s); ESP32 back "
        f"by itself {len(back)} of {times} times, {max(back, default=0):.1f} s after the link; "
        f"0 of Opta's {reads:,} reads",
    )


def _cut(places: Networks, wire: Link, switched_off: bool) -> None:
    if switched_off:
        places.ip(FIELD, "link", "set", OTHER_END, "down")
    else:
        wire.trouble(loss=1)


def _join(places: Networks, wire: Link, switched_off: bool) -> None:
    if switched_off:
        places.ip(FIELD, "link", "set", OTHER_END, "up")
    else:
        wire.trouble()


@contextmanager
def _course(seed: int) -> Iterator[tuple[Field, Program, Link, Networks]]:
    """Start the concentrator, an ESP32 and an Opta, each on a host of its own."""
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
