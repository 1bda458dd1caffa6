"""What the running service tells of itself, for `smart-meter doctor`: a small file in its runtime folder.

Every time in it is in monotonic seconds of this boot, so that a clock that is set does not change an age.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config.small_file import read_small

NAME = "state.json"
LAYOUT = 1
"""Changes where a key gets another meaning; a reader takes those that it knows."""
MAX_PORT = 0xFFFF
_BIG = 2**63


def record(
    concentrator: Concentrator, *, started: float, port: int, history: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what is to be told. started: monotonic seconds; history: as `Recording.state` has it."""
    totals = concentrator.statistics
    return {
        "layout": LAYOUT,
        "pid": os.getpid(),
        "port": port,
        "at": round(concentrator.now(), 3),
        "started": round(started, 3),
        "connections": totals.open_connections,
        "refused": totals.refused,
        "history": history,
        "peers": {
            name: {
                "received": peer.received,
                "last_received": peer.last_received,
                "served": peer.served,
                "last_served": peer.last_served,
            }
            for name, peer in totals.peers.items()
        },
    }


def write(runtime: Path, state: dict[str, Any]) -> None:
    """Put the file in the place of the old one; where that can't be, the service goes on without."""
    try:
        (runtime / f".{NAME}").write_text(json.dumps(state))
        (runtime / f".{NAME}").replace(runtime / NAME)
    except OSError:
        # The doctor sees that the file is old or missing, and says so.
        return


def remove(runtime: Path) -> None:
    """Take the file away: the service has ended."""
    try:
        (runtime / NAME).unlink(missing_ok=True)
    except OSError:
        return


def read(runtime: Path) -> dict[str, Any] | None:
    """Return what the service told last, or None where nothing is there or it can't be made out."""
    try:
        state = json.loads(read_small(runtime / NAME))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(state, dict) or state.get("layout") != LAYOUT:
        return None
    return state if all(is_right(state[key]) for key, is_right in _VALUES.items() if key in state) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _BIG


def _is_peers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(peer, dict) and all(number is None or _is_number(number) for number in peer.values())
        for peer in value.values()
    )


_VALUES: dict[str, Callable[[object], bool]] = {
    "pid": lambda value: isinstance(value, int) and 0 < value < _BIG,
    "port": lambda value: isinstance(value, int) and 0 <= value <= MAX_PORT,
    "at": _is_number,
    "started": _is_number,
    "history": lambda value: value is None or isinstance(value, dict),
    "peers": _is_peers,
}
"""What each key may hold: the service's user, or a fault, may have put anything there."""
