"""Reports rows that were deleted because the file is full, before they were too old."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from smart_meter.history.owners import owner_name
from smart_meter.history.running_time import DAY

if TYPE_CHECKING:
    from smart_meter.history.database import Database

LINE_SECONDS = 86_400.0
"""Between two lines in the log."""


class YoungRows:
    """Counts such rows, notes each deletion in the audit trail, and logs one a day."""

    def __init__(self, log: Callable[[str], None], note: Callable[[str, str, str], None]) -> None:
        """log: logs a line. note: notes an event: its kind, text and detail."""
        self.deleted = 0
        """Since the start."""
        self._log = log
        self._note = note
        self._line_at = -math.inf

    def report(self, database: Database, max_age_days: float, now: float) -> None:
        """Report what the database has deleted since the last call. now: monotonic seconds."""
        if not database.deleted_young:
            return
        self.deleted += database.deleted_young
        database.deleted_young = 0
        client, age = database.youngest
        owner, days = owner_name(client), age / DAY
        self._note(
            "deleted",
            f"rows of the history younger than max_age_days ({max_age_days:g}) were deleted: it is full",
            f"{self.deleted} since the start, the last ones of {owner}, {days:.1f} days old",
        )
        if now >= self._line_at:
            self._line_at = now + LINE_SECONDS
            self._log(
                f"[HISTORY] {database.path} is full: rows younger than max_age_days ({max_age_days:g}) are "
                f"deleted, now those of {owner} ({days:.1f} days old); raise max_size_mib"
            )
