"""A process for tests that records numbers and prints those that are on disk.

python -m tests.integration.recording PATH COMMIT_INTERVAL FIRST COUNT    (COUNT 0: without limit)
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

from smart_meter.config import HistoryConfig, MeterConfig
from smart_meter.history import History
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap

METER = MeterConfig("numbers", 1, RegisterMap((Measurement("n", 0, DataType.UINT32),)))
OUTSTANDING = 50
"""Samples that wait for their acknowledgement at the same time, as with this many clients."""


def main(path: str, interval: float, first: int, count: int) -> int:
    committed = threading.Event()
    history = History(
        HistoryConfig(path=path, commit_interval=interval),
        [METER],
        lambda text: print(text, flush=True),
        committed.set,
    )
    restored = history.open()
    print(f"restored {int.from_bytes(restored['numbers'].registers) if restored else None}", flush=True)
    waiting: deque[tuple[int, int]] = deque()
    number, end = first, first + count
    while count == 0 or number < end or waiting:
        while len(waiting) < OUTSTANDING and (count == 0 or number < end):
            waiting.append((number, history.record("numbers", time.monotonic(), number.to_bytes(4), None, 0)))
            number += 1
        committed.wait()
        committed.clear()
        refused = False
        while waiting and (stored := history.stored_up_to(waiting[0][1])) is not None:
            refused |= not stored
            sys.stdout.write(f"{'stored' if stored else 'refused'} {waiting.popleft()[0]}\n")
        sys.stdout.flush()
        if refused:
            # Like a client after a failed write.
            time.sleep(0.05)
    return 0 if history.stop(20) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
