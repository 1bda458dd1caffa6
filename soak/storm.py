"""`python -m soak.storm`: sends volleys of malformed and random frames, and checks the replies.

It is a separate process, so that it does not share an interpreter with the well-behaved client.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from soak.frames import End, Generator, Volley

PATIENCE = 10.0
"""Seconds to wait for a reply, or for the server to close a connection that it can't parse."""
_RESET = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: close at once, with a reset
_REPORT_SECONDS = 1.0


@dataclass(slots=True)
class Totals:
    """Counts of what was sent and received."""

    frames: int = 0
    connections: int = 0
    answered: int = 0
    unanswered: int = 0
    """Frames with a valid header that were not answered in time, although the client waited."""
    wrong: int = 0
    """Replies that do not match their request."""
    kept_open: int = 0
    """Connections that the server did not close although it can't parse the stream."""
    refused: int = 0
    """Connection attempts that failed."""


class Attacker(threading.Thread):
    """Sends volleys from one address, each over a new connection, until it has sent enough frames."""

    def __init__(self, target: tuple[str, int], source: str, seed: int, frames: int) -> None:
        super().__init__(daemon=True)
        self.totals = Totals()
        self._target = target
        self._source = source
        self._generator = Generator(seed)
        self._frames = frames

    def run(self) -> None:
        """Send all volleys."""
        while self.totals.frames < self._frames:
            volley = self._generator.volley()
            self.totals.frames += volley.frames
            self.totals.connections += 1
            try:
                with socket.create_connection(self._target, PATIENCE, (self._source, 0)) as connection:
                    self._exchange(connection, volley)
            except OSError:
                self.totals.refused += 1

    def _exchange(self, connection: socket.socket, volley: Volley) -> None:
        totals = self.totals
        if volley.end is End.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.sendall(volley.data)
            return
        data, ended = b"", False
        try:
            connection.sendall(volley.data)
            if volley.end in (End.HALF_CLOSE, End.TRUNCATED):
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                data += part
            ended = True
        except TimeoutError:
            pass
        except OSError:
            ended = True
        expected = iter(volley.heads)
        replies = 0
        for reply in _split(data):
            head = next(expected, None)
            replies += 1
            # An exception has the request's function code with the highest bit set.
            if head is None or (reply[:2], reply[6], reply[7] | 0x80) != (head[:2], head[2], head[3] | 0x80):
                totals.wrong += 1
        totals.answered += replies
        totals.unanswered += max(0, len(volley.heads) - replies)
        totals.kept_open += not ended


def _split(data: bytes) -> Iterator[bytes]:
    while len(data) >= 8:
        end = 6 + int.from_bytes(data[4:6])
        yield data[:end]
        data = data[end:]


def main() -> int:
    """Print the totals as a line of JSON, each second and at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--sources", nargs="+", required=True, help="a source address for each attacker")
    options = parser.parse_args()
    share = -(-options.frames // len(options.sources))
    attackers = [
        # Different seeds for all attackers and runs, so that no volleys are repeated.
        Attacker((options.host, options.port), source, options.seed * 1000 + number, share)
        for number, source in enumerate(options.sources)
    ]
    for attacker in attackers:
        attacker.start()
    due = time.monotonic()
    while any(attacker.is_alive() for attacker in attackers):
        due += _REPORT_SECONDS
        for attacker in attackers:
            attacker.join(max(0.0, due - time.monotonic()))
        report(attackers)
    report(attackers)
    return 0


def report(attackers: list[Attacker]) -> None:
    """Print the sums over all attackers."""
    records = [asdict(attacker.totals) for attacker in attackers]
    print(json.dumps({key: sum(record[key] for record in records) for key in records[0]}), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
