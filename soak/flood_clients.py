"""`python -m soak.flood_clients`: addresses that write samples to one meter as fast as they are acknowledged.

A process of its own, so that the well-behaved clients beside it have an interpreter to themselves.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import time
from dataclasses import asdict, dataclass

from soak.flood_frames import REPLY, request

FIRST = 1_000_000_000
"""The flood's counters begin here."""
_BATCH = 50
"""Samples that one address has in flight."""
LONGER = 60.0
"""The most seconds that a flood is longer than planned, to reach its number of samples."""
_PATIENCE = 20.0
"""Seconds to wait for the last replies."""


@dataclass(slots=True)
class Totals:
    """The counts of all addresses."""

    acknowledged: int = 0
    wrong: int = 0
    """Batches with another reply than the acknowledgements."""
    unanswered: int = 0
    """Connections that were closed, or had no reply in time."""


class Address:
    """One address: it sends the next batch once the last one is answered."""

    def __init__(self, target: tuple[str, int], source: str, first: int) -> None:
        self.socket = socket.create_connection(target, _PATIENCE, (source, 0))
        self._batch = b"".join(map(request, range(first, first + _BATCH)))
        self._received = b""

    def send(self) -> None:
        """Send a batch."""
        self.socket.sendall(self._batch)

    def receive(self) -> bytes | None:
        """Return the replies to a batch, or None while some are missing. Raises OSError at the end."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self._received += data
        if len(self._received) < len(REPLY) * _BATCH:
            return None
        replies, self._received = self._received, b""
        return replies


def flood(target: tuple[str, int], sources: list[str], seconds: float, samples: int) -> Totals:
    """Write for `seconds`, and on until `samples` are acknowledged; then wait for the last replies."""
    totals = Totals()
    selector = selectors.DefaultSelector()
    for number, source in enumerate(sources):
        address = Address(target, source, FIRST + number * _BATCH)
        selector.register(address.socket, selectors.EVENT_READ, address)
        address.send()
    end = time.monotonic() + seconds
    last = end + LONGER
    while selector.get_map() and (now := time.monotonic()) < last + _PATIENCE:
        ends = now >= (end if totals.acknowledged >= samples else last)
        for key, _ in selector.select(0.1):
            address = key.data
            try:
                replies = address.receive()
                if replies is None:
                    continue
                if replies == REPLY * _BATCH:
                    totals.acknowledged += _BATCH
                else:
                    totals.wrong += 1
                if not ends:
                    address.send()
                    continue
            except OSError:
                totals.unanswered += 1
            selector.unregister(address.socket)
            address.socket.close()
    totals.unanswered += len(selector.get_map())
    return totals


def main() -> None:
    """Print the totals as a line of JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--samples", type=int, required=True, help="that have to be acknowledged")
    parser.add_argument("--sources", nargs="+", required=True, help="the addresses")
    options = parser.parse_args()
    totals = flood((options.host, options.port), options.sources, options.seconds, options.samples)
    print(json.dumps(asdict(totals)), flush=True)


if __name__ == "__main__":
    main()
