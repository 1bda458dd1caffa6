"""What the figures of a flood mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from smart_meter.registers.status_block import decode
from soak.flood_clients import Totals
from soak.report import Ledger, Outcome, count
from soak.trail import Event

RATE, BURST_SECONDS = 10, 60
"""The default budget: samples per second, and for how many seconds they may come at once."""
BUDGETS = 4
"""Of the flood: three addresses beside the genuine client have one each, and all others share one."""
THINNED, DELETED = "thinned", "deleted"
"""The kinds of events that report a flood."""
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Found:
    """Which samples of the genuine client are in the history."""

    wanted: int
    """How many have to be in the history."""
    missing: int = 0
    misattributed: int = 0
    """Rows of them with another address."""
    partial: int = 0
    """Rows of any client that are not one whole sample."""


@dataclass(slots=True)
class Reads:
    """The reads of the Opta."""

    number: int = 0
    wrong: int = 0
    """Reads with no reply, an exception, or values that are not one whole sample."""
    slowest: float = 0.0
    """Seconds."""


@dataclass(slots=True)
class Report:
    """What the service reported."""

    flooders: tuple[str, ...] = ()
    """The addresses of the flood."""
    thinned: int = 0
    """In the status block."""
    totals: dict[str, int] = field(default_factory=dict)
    """Of the last statistics line, by name."""
    lines: dict[str, set[str]] = field(default_factory=dict)
    """The addresses in log lines, by the kind of event that they report."""
    events: dict[str, set[str]] | None = None
    """The same in the audit trail; None if this release keeps none."""


@dataclass(slots=True)
class Phase:
    """One flood."""

    name: str
    seconds: float
    """How long the flood lasted."""
    lifetime: float
    """How long the service ran, in seconds."""
    flood: Totals
    reads: Reads
    not_acknowledged: int
    """Samples of the genuine client that were not acknowledged."""
    rows: int
    """All rows after the flood."""
    before: Found
    """The genuine client's samples of the day before the flood."""
    during: Found
    """Its samples that were acknowledged during the flood."""
    report: Report
    file_bytes: int
    """The history's file and its WAL at the end of the flood."""
    stopped: bool
    """Whether the service stopped properly."""

    @property
    def rows_of_flood(self) -> int:
        """Return how many rows the flood has after all."""
        genuine = (self.before, self.during)
        return self.rows - sum(found.wanted - found.missing for found in genuine)

    @property
    def replaced(self) -> int:
        """Return how many rows the flood had, and has no more."""
        return self.flood.acknowledged - self.report.thinned - self.rows_of_flood


def read_report(out: str, status: bytes, events: Sequence[Event] | None, flooders: Sequence[str]) -> Report:
    """Return what a service reported. out: its log. status: the registers of its status block."""
    report = Report(tuple(flooders), decode(status).thinned_samples or 0)
    for line in out.splitlines():
        if line.startswith("[STATS]"):
            report.totals = {name: int(number) for name, number in re.findall(r"\| ([\w ]+): (\d+)", line)}
        for kind, mark in ((THINNED, "[THINNED] "), (DELETED, "younger than max_age_days")):
            if mark in line:
                report.lines.setdefault(kind, set()).update(_ADDRESS.findall(line))
    if events is not None:
        report.events = {}
        for event in events:
            words = f"{event.client} {event.text} {event.detail}"
            report.events.setdefault(event.kind, set()).update(_ADDRESS.findall(words))
    return report


def judge(
    limited: Phase, unlimited: Phase, *, control: tuple[int, int], genuine: str, size_mib: int
) -> Outcome:
    """Return the outcome of a flood with the default budget, and of one without a budget.

    control: of how many rows that were deleted by hand, how many were found missing: (missing, deleted).
    genuine: the genuine client's address.
    """
    ledger = Ledger()
    for phase in (limited, unlimited):
        _judge_clients(phase, ledger)
        ledger.expect(
            phase.file_bytes <= size_mib * 2**20,
            f"the history takes {phase.file_bytes:,} bytes ({phase.name})",
        )
    _judge_limited(limited, genuine, ledger)
    _judge_unlimited(unlimited, genuine, ledger)
    missing, deleted = control
    ledger.expect(
        missing == deleted > 0, f"of {count(deleted, 'row')} deleted by hand, {missing} were missing"
    )
    rows = limited.before.wanted
    reads = (limited.reads, unlimited.reads)
    return ledger.outcome(
        f"a flood by field addresses against {rows:,} rows of the last day (stored by the service, then "
        f"moved apart with SQL) in {size_mib} MiB, with the default budget and with none",
        f"{limited.flood.acknowledged:,} samples of the flood, {unlimited.flood.acknowledged:,} with no "
        f"budget; beside them {count(limited.during.wanted + unlimited.during.wanted, 'sample')} of the "
        f"genuine client, {count(sum(part.number for part in reads), 'read')} by an Opta",
        f"{limited.before.missing} and {unlimited.before.missing} of the {rows:,} rows; "
        f"{limited.during.missing + unlimited.during.missing} of the genuine client's new samples; "
        f"{sum(part.wrong for part in reads)} of Opta's reads (slowest "
        f"{max(part.slowest for part in reads) * 1000:.0f} ms); {limited.report.thinned:,} of the flood's "
        f"samples thinned, and with no budget {unlimited.replaced:,} of its own rows replaced; "
        f"control: {missing} of {deleted} rows deleted by hand",
    )


def _judge_clients(phase: Phase, ledger: Ledger) -> None:
    """Check what must hold with any budget: neither the genuine client nor the Opta notices the flood."""
    before, during, flood, reads = phase.before, phase.during, phase.flood, phase.reads
    failures = (
        (before.missing, "of the last day's rows missing"),
        (during.missing, "of the genuine client's acknowledged samples not stored"),
        (phase.not_acknowledged, "of the genuine client's writes not acknowledged"),
        (before.misattributed + during.misattributed, "of the genuine client's rows with another address"),
        (before.partial, "rows that are not a whole sample"),
        (reads.wrong, "of Opta's reads with no or a wrong reply"),
        (flood.wrong + flood.unanswered, "connections of the flood with a wrong reply or none"),
        (phase.report.totals.get("Not stored", 0), "samples not stored, by the statistics"),
    )
    for number, failure in failures:
        ledger.expect(number == 0, f"{number:,} {failure} ({phase.name})")
    ledger.expect(before.wanted > 0, f"there were no rows before the flood ({phase.name})")
    ledger.expect(during.wanted >= phase.seconds, f"hardly any new sample was acknowledged ({phase.name})")
    ledger.expect(reads.number >= 4 * phase.seconds, f"hardly any read ({phase.name})")
    ledger.expect(phase.stopped, f"the program did not stop properly ({phase.name})")


def _judge_limited(phase: Phase, genuine: str, ledger: Ledger) -> None:
    """Check that the flood got its budget, and that the rest was counted and reported."""
    report, flood = phase.report, phase.flood.acknowledged
    budget = BUDGETS * RATE * (BURST_SECONDS + phase.lifetime)
    ledger.expect(flood > 2 * budget, f"a flood of {flood:,} samples proves nothing")
    ledger.expect(
        phase.rows_of_flood <= budget, f"{phase.rows_of_flood:,} rows of the flood are more than its budget"
    )
    ledger.expect(
        report.thinned == flood - phase.rows_of_flood,
        f"the status block has {report.thinned:,} samples as thinned, but {flood:,} were acknowledged and "
        f"{phase.rows_of_flood:,} stored",
    )
    in_statistics = report.totals.get("Thinned", 0)
    ledger.expect(
        in_statistics == report.thinned,
        f"the statistics have {in_statistics:,} samples as thinned, the status block {report.thinned:,}",
    )
    _judge_report(THINNED, report, genuine, ledger)


def _judge_unlimited(phase: Phase, genuine: str, ledger: Ledger) -> None:
    """Check that the flood needed more room than there was, and that this was reported."""
    ledger.expect(phase.replaced > phase.before.wanted, "the flood did not fill the file: it proves nothing")
    ledger.expect(phase.report.thinned == 0, "samples were thinned without a budget")
    _judge_report(DELETED, phase.report, genuine, ledger)


def _judge_report(kind: str, report: Report, genuine: str, ledger: Ledger) -> None:
    """Check that an event of a kind was reported, and as the flood's."""
    reports = {"line": report.lines.get(kind, set())}
    if report.events is not None:
        reports["event"] = report.events.get(kind, set())
    for name, addresses in reports.items():
        ledger.expect(
            bool(addresses & set(report.flooders)), f"no {name} `{kind}` names an address of the flood"
        )
        ledger.expect(genuine not in addresses, f"a {name} `{kind}` names the genuine client")
