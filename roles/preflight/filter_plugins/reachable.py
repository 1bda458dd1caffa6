"""The filter `as_host`: what a Pi or a cache gave as its address, or nothing if it is something else.

A module's answer may hold any fact, and `-oProxyCommand=…` as an address would run a program on this machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ansible.utils.display import Display

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.networks import is_host  # noqa: E402 - the path comes first.
from roles.preflight.rules.problem import show  # noqa: E402


class FilterModule:
    """Ansible looks for this class in the role."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filter by its name."""
        return {"as_host": _as_host}


def _as_host(value: object, name: str) -> str:
    """Return a host name or an address as it is; otherwise warn, with the name of the Pi, and return ""."""
    if isinstance(value, str) and is_host(value):
        return value
    if value:
        Display().warning(
            f"{name}: the address recorded at the last run, {show(value)}, is neither a host name nor an"
            " address; it is ignored. The Pi or the fact cache may have been tampered with."
        )
    return ""
