"""Judges the audit trail, and what it has recorded in the last 24 hours. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smart_meter.config import EventsConfig
from smart_meter.doctor.check import AS_ROOT, PROGRAM, Check, ok, size, unknown, warning
from smart_meter.doctor.service import JOURNAL, HistoryFile, judge_file
from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.reader import RecordedEvent
from smart_meter.log.audit.schema import NO_STOP

FEW = 5
"""Refusals of one client in a day that need nobody's attention: `smart-meter probe` causes some."""
STEPS = 2
"""Steps of the clock in a day that are normal: a Pi has no clock of its own, and sets it after its start."""
_NAMED = 3
"""The most clients that a check names."""
_DAY = "last 24 hours"


def judge_trail(
    config: EventsConfig, file: HistoryFile | None, reported: Mapping[str, Any] | None, user: str
) -> Check:
    """Judge whether the audit trail is written.

    file: None if this user may not see it. reported: its part of the state file; None if there is none. user:
    the service's user, who has to own the file.
    """
    name = "audit trail"
    if not config.path:
        return ok(name, "not recorded", "not recorded")
    judged = judge_file(name, config.path, file, reported, user)
    if isinstance(judged, Check):
        return judged
    expected = f"recorded in {config.path}"
    found = f"recorded, {size(judged.bytes)}"
    if reported is not None and reported.get("deleted_young"):
        return warning(
            name,
            f"{found}, full: {reported['deleted_young']} rows deleted before {config.max_age_days:g} days",
            expected,
            f"{PROGRAM} events shows which kind fills it; raise events.max_size_mib",
        )
    if judged.quarantined:
        folder = config.path.rpartition("/")[0]
        fix = (
            f"{PROGRAM} events --path {folder}/{judged.quarantined[0]} may be able to read it; then remove it"
        )
        listed = ", ".join(judged.quarantined)
        return warning(name, f"{found}; damaged and quarantined: {listed}", expected, fix)
    return ok(name, found, expected)


def judge_day(events: Iterable[RecordedEvent] | None) -> Iterator[Check]:
    """Judge the events of the last 24 hours. events: None if this user can't read them."""
    if events is None:
        yield unknown(_DAY, "the audit trail can't be read", "nothing unusual", AS_ROOT)
        return
    of_kind: dict[str, list[RecordedEvent]] = defaultdict(list)
    for event in events:
        of_kind[event.kind].append(event)
    checks = [check for concern in _CONCERNS for check in concern.judge(of_kind)]
    yield from checks
    if not checks:
        yield ok(_DAY, "nothing unusual", "nothing unusual")


@dataclass(frozen=True, slots=True)
class _Concern:
    """What matters of one kind or several, in words, with the fix."""

    name: str
    kinds: tuple[Kind, ...]
    what: str
    """What happened, as in: 12 times."""
    fix: str
    few: int = 0
    """The most events, of one client, that need nobody's attention."""
    counts: Callable[[RecordedEvent], bool] = lambda _: True

    def judge(self, of_kind: Mapping[str, list[RecordedEvent]]) -> Iterator[Check]:
        """Yield a warning if there is a reason for one."""
        totals: dict[str, int] = defaultdict(int)
        latest: dict[str, RecordedEvent] = {}
        for kind in self.kinds:
            for event in of_kind.get(kind.value, ()):
                if self.counts(event):
                    totals[event.client] += event.count
                    latest[event.client] = event
        many = sorted((client for client in totals if totals[client] > self.few), key=totals.__getitem__)[
            ::-1
        ]
        if not many:
            return
        named = [self._describe(client, totals[client], latest[client]) for client in many[:_NAMED]]
        if len(many) > _NAMED:
            named.append(f"and {len(many) - _NAMED} more addresses")
        kinds = ",".join(kind.value for kind in self.kinds)
        shown = f"{PROGRAM} events --since 24h --kind {kinds} shows them; {self.fix}"
        yield warning(f"{_DAY}: {self.name}", "; ".join(named), "none", shown)

    def _describe(self, client: str, count: int, event: RecordedEvent) -> str:
        times = "once" if count == 1 else f"{count} times"
        who = "other addresses: " if client == "*" else f"{client}: " if client else ""
        meter = f"{event.meter}: " if event.meter else ""
        return f"{who}{self.what} {times}, last: {meter}{event.text}"


_CONCERNS = (
    _Concern(
        "refusals",
        (Kind.REFUSED,),
        "refused",
        "correct the client's registers, unit identifier or access, or remove it from the network",
        few=FEW,
    ),
    _Concern(
        "incomplete samples",
        (Kind.PARTIAL,),
        "samples in parts",
        "write the whole map with one request, or see sample_gap and complete in docs/protocol.md",
    ),
    _Concern(
        "samples over the budget",
        (Kind.THINNED,),
        "not in the history",
        "slow the client down, or raise history.max_samples_per_second",
    ),
    _Concern(
        "two writers",
        (Kind.TWO_WRITERS,),
        "wrote beside another",
        'remove one, restrict access, or set writers = "one"',
    ),
    _Concern(
        "clock",
        (Kind.CLOCK,),
        "set",
        "check the time servers: timedatectl timesync-status",
        few=STEPS,
    ),
    _Concern(
        "unclean stops",
        (Kind.START,),
        "started after a power cut, a kill or a crash",
        f"check the power supply; {JOURNAL} shows a crash",
        counts=lambda event: NO_STOP in f"{event.text} {event.detail}",
    ),
    _Concern(
        "lost data",
        (Kind.LOST, Kind.DELETED, Kind.QUARANTINED),
        "lost, deleted or damaged",
        "check the card and its space: dmesg, df -h",
    ),
    _Concern(
        "refused reloads",
        (Kind.RELOAD_REFUSED,),
        "refused",
        f"{PROGRAM} check-config lists every problem",
    ),
)
