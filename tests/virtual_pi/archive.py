"""The Debian archive that the Pis install packages from: the one that this machine uses."""

from __future__ import annotations

from tools import archive
from tools.archive import Archive, ArchiveError

from tests.virtual_pi.commands import LabError

__all__ = ["Archive", "first_hops", "of_local_machine"]


def of_local_machine() -> Archive:
    """Read the machine's apt configuration. Raises LabError if it has no archive."""
    try:
        return archive.of_local_machine()
    except ArchiveError as error:
        raise LabError(str(error)) from error


def first_hops() -> list[tuple[str, int]]:
    """Return what a Pi connects to for packages. Raises LabError if a name can't be resolved."""
    try:
        return archive.of_local_machine().first_hops()
    except ArchiveError as error:
        raise LabError(str(error)) from error
