"""An ESP32 that counts: `python -m tests.image.esp32 FIRST SECONDS`, run in the field zone.

It writes samples, one after another with a pause of SECONDS between them. P_ac is a counter from FIRST on.
Each acknowledged counter is printed at once, so what a power cut has to preserve is known. It ends when the
connection does, or when its standard input is closed.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

from tests.controller import FIELD_ADDRESS

PATIENCE = 30.0
# P_dc, V_dc, I_dc, G, T_cell and the time of the original document's example.
_OTHERS = (260, 485, 536, 850, 456, 0x5686, 0x15E0)


def frame(counter: int) -> bytes:
    """Return the FC16 request that writes a sample of eight registers."""
    registers = struct.pack(">8H", counter, *_OTHERS)
    return struct.pack(">HHHBBHHB", counter, 0, 23, 1, 16, 0, 8, 16) + registers


def main() -> None:
    """Write until the connection ends."""
    counter, pause = int(sys.argv[1]), float(sys.argv[2])
    with socket.create_connection((FIELD_ADDRESS, 502), timeout=PATIENCE) as connection:
        while not select.select([sys.stdin], [], [], pause)[0]:
            connection.sendall(frame(counter))
            if connection.recv(260) != struct.pack(">HHHBBHH", counter, 0, 6, 1, 16, 0, 8):
                return
            print(counter, flush=True)
            counter += 1


if __name__ == "__main__":
    main()
