"""The state file: the running service's totals for `smart-meter doctor`, in its runtime directory.

All times in it are monotonic seconds of this boot, so setting the clock does not change an age.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smart_meter.concentrator.clients import MAX_CLIENTS, MAX_TEXT
from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config.small_file import read_small

NAME = "state.json"
LAYOUT = 1
"""Changes when a key gets another meaning; a reader ignores a layout that it does not know."""
MAX_PORT = 0xFFFF
_BIG = 2**63


def record(
    concentrator: Concentrator,
    *,
    started: float,
    port: int,
    history: dict[str, Any] | None,
    events: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the state to be written.

    started: monotonic seconds. history, events: from `Recording.state` and `Auditing.state`.
    """
    totals = concentrator.statistics
    return {
        # In these two places: the LED's program, a shell script, reads no more than the beginning.
        "layout": LAYOUT,
        "health": concentrator.health().value,
        "pid": os.getpid(),
        "port": port,
        "at": round(concentrator.now(), 3),
        "started": round(started, 3),
        "connections": totals.open_connections,
        "refused": totals.refused,
        "history": history,
        "events": events,
        "assumed_starts": {
            meter.name: assumed for meter in concentrator.meters if (assumed := meter.assumed_starts())
        },
        "clients": concentrator.clients(),
        "peers": {
            name: {
                "received": peer.received,
                "last_received": peer.last_received,
                "served": peer.served,
                "last_served": peer.last_served,
                "refused": peer.refused,
                "last_refused": peer.last_refused,
            }
            for name, peer in totals.peers.items()
        },
    }


def write(runtime: Path, state: dict[str, Any]) -> None:
    """Replace the state file. If that fails, the service continues without it."""
    try:
        (runtime / f".{NAME}").write_text(json.dumps(state))
        (runtime / f".{NAME}").replace(runtime / NAME)
    except OSError:
        # The doctor reports that the file is old or missing.
        return


def remove(runtime: Path) -> None:
    """Remove the state file: the service has ended."""
    try:
        (runtime / NAME).unlink(missing_ok=True)
    except OSError:
        return


def read(runtime: Path) -> dict[str, Any] | None:
    """Return the state that the service wrote last, or None if there is no valid state file."""
    try:
        state = json.loads(read_small(runtime / NAME, follow=False))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(state, dict) or state.get("layout") != LAYOUT:
        return None
    return state if all(is_valid(state[key]) for key, is_valid in _VALUES.items() if key in state) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _BIG


def _is_peers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(peer, dict) and all(number is None or _is_number(number) for number in peer.values())
        for peer in value.values()
    )


def _is_text(value: object) -> bool:
    # The doctor prints it: nothing in it may control a terminal.
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def _is_clients(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_CLIENTS
        and all(
            isinstance(client, dict)
            and all(key in client and is_valid(client[key]) for key, is_valid in _CLIENT.items())
            for client in value
        )
    )


_CLIENT: dict[str, Callable[[object], bool]] = {
    "address": _is_text,
    "peer": _is_text,
    "meter": lambda value: value is None or _is_text(value),
    "last_sample": lambda value: value is None or _is_number(value),
    "refused": _is_number,
    "last_refused": lambda value: value is None or _is_number(value),
    "reason": _is_text,
    "incomplete": _is_number,
    "missing": _is_text,
}
_VALUES: dict[str, Callable[[object], bool]] = {
    "health": _is_text,
    "pid": lambda value: isinstance(value, int) and 0 < value < _BIG,
    "port": lambda value: isinstance(value, int) and 0 <= value <= MAX_PORT,
    "at": _is_number,
    "started": _is_number,
    "history": lambda value: value is None or isinstance(value, dict),
    "events": lambda value: value is None or isinstance(value, dict),
    "peers": _is_peers,
    "clients": _is_clients,
    "assumed_starts": lambda value: (
        isinstance(value, dict)
        and all(
            isinstance(found, list) and all(isinstance(a, str) for a in found) for found in value.values()
        )
    ),
}
"""Which values are valid for each key: the service's user, or a fault, may have written anything."""
