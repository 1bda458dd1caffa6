"""The filter `as_host`: a host name or an address, safe as an argument of SSH; anything else becomes empty.

A Pi's answer to any task may set facts, and cached facts outlive the run. So one that is used as an address
is checked, or a Pi under someone else's control could add options to the controller's SSH.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

_REPOSITORY = Path(__file__).resolve().parents[3]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.networks import is_host_name  # noqa: E402 - the path comes first.
from roles.preflight.rules.problem import show  # noqa: E402


class FilterModule:
    """Ansible looks for this class in the role."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"as_host": as_host}


def as_host(value: object, name: str) -> str:
    """Return a host name (RFC 1123) or an address unchanged, and an empty text for anything else.

    name: the Pi's, for the warning.
    """
    if isinstance(value, str) and (not value or _is_address(value) or is_host_name(value)):
        return value
    recorded = f"the address recorded at the last run, {show(value)},"
    Display().warning(f"{name}: {recorded} is neither a host name nor an address; it is ignored")
    return ""


def _is_address(text: str) -> bool:
    try:
        # A scope (fe80::1%eth0) may have any characters.
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False
