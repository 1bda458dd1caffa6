"""`python -m tests.integration.opta`: read at a fixed rate over one connection, and tell how it went.

A process of its own, so that nothing but the concentrator can hold it up.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import time

from tests.unit.wire import SAMPLE_REGISTERS, answer, read

PATIENCE = 5.0
_REQUEST = read(0, len(SAMPLE_REGISTERS))
_REPLY = answer(1, SAMPLE_REGISTERS)


def main() -> int:
    """Print `ready` after the first answer; at SIGTERM, what came of the reads, as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--rate", type=float, default=100, help="reads a second")
    asked = parser.parse_args()
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    reading = Reading(socket.create_connection((asked.host, 502), PATIENCE))
    reading.once(time.monotonic())
    print("ready", flush=True)
    due = time.monotonic()
    while not ended and not reading.closed:
        due += 1 / asked.rate
        time.sleep(max(0.0, due - time.monotonic()))
        # The time counts from when the read was due: what a hold-up makes late is late, too.
        reading.once(due)
    print(json.dumps(reading.result()), flush=True)
    return 0


class Reading:
    """One connection, and what came over it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(PATIENCE)
        self.closed = False
        self._connection = connection
        self._times: list[float] = []
        self._wrong = 0

    def once(self, due: float) -> None:
        """Read; `due` in monotonic seconds."""
        reply = b""
        try:
            self._connection.sendall(_REQUEST)
            while len(reply) < len(_REPLY) and (part := self._connection.recv(1024)):
                reply += part
        except OSError:
            self.closed = True
        if len(reply) < len(_REPLY):
            self.closed = True
        self._times.append(time.monotonic() - due)
        self._wrong += reply != _REPLY

    def result(self) -> dict[str, object]:
        """Return the figures; times in milliseconds."""
        times = sorted(1000 * seconds for seconds in self._times)
        return {
            "reads": len(times),
            "wrong": self._wrong,
            "closed": self.closed,
            "p50": round(times[len(times) // 2], 2),
            "p99": round(times[int(len(times) * 0.99)], 2),
            "max": round(times[-1], 2),
        }


if __name__ == "__main__":
    raise SystemExit(main())
