"""The filter `unreached`: explains Ansible's message about a failed connection.

Arguments: the Pi's name and USER@ADDRESS. Returns off (whether nothing answered) and reason, with the fix.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.unreached import Cause, unreached  # noqa: E402 - the path comes first.


class FilterModule:
    """Ansible looks for this class beside the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"unreached": _judged}


def _judged(message: str, name: str, login: str) -> dict[str, Any]:
    why = unreached(message, name, login)
    return {"off": why.cause is Cause.OFF, "reason": str(why)}
