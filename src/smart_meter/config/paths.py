"""Which paths a file of the service may have."""

from __future__ import annotations

import os


def path_fault(value: str) -> str:
    """Return what is wrong with the path of a file, for a message; empty if it is valid or not given."""
    if value and (not value.startswith("/") or value.endswith("/")):
        return "is not the absolute path of a file"
    return "is a folder" if value and os.path.isdir(value) else ""
