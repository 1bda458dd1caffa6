"""The kinds of events in the audit trail."""

from __future__ import annotations

import enum
from typing import Protocol


class Kind(enum.Enum):
    """What kind of event it is; the value is its name in the file and on the command line."""

    START = "start"
    STOP = "stop"
    RELOAD = "reload"
    RELOAD_REFUSED = "reload-refused"
    WRITER = "writer"
    """Another address writes a meter."""
    TWO_WRITERS = "two-writers"
    REFUSED = "refused"
    """A request got an exception, and nothing was written."""
    PARTIAL = "partial"
    """A sample did not become complete, or readers got a value without a complete sample."""
    THINNED = "thinned"
    """Samples were left out of the history: their client was over its budget."""
    FRESH = "fresh"
    STALE = "stale"
    CLOCK = "clock"
    """The wall clock was stepped."""
    DELETED = "deleted"
    """Rows of the history younger than `max_age_days` were deleted for their size."""
    QUARANTINED = "quarantined"
    """A file was damaged, and a new one was created."""
    LOST = "lost"
    """Samples or events could not be stored."""
    RELEASE = "release"
    ROLLBACK = "rollback"
    NETWORK = "network"
    FIREWALL = "firewall"
    CONFIGURATION = "configuration"


BY_ROOT = frozenset({Kind.RELEASE, Kind.ROLLBACK, Kind.NETWORK, Kind.FIREWALL, Kind.CONFIGURATION})
"""The kinds that only root can add, through the socket."""


class EventSink(Protocol):
    """Takes events; `note` neither blocks nor raises. The event loop's thread and others may call it."""

    def note(self, kind: Kind, text: str, *, client: str = "", meter: str = "", detail: str = "") -> None:
        """Record an event that happened now.

        Events of one kind, client and meter, whose texts differ only in numbers, may become one with a count.
        text: what happened, in a short sentence without the client and the meter. client: the address of the
        client, or "". meter: its name, or "". detail: figures of the last event, such as registers.
        """
