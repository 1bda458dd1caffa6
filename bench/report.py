"""The tables of a run, as Markdown for the terminal and for `results.md`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.figures import Figure, Figures, Goal

LOAD_ROWS = ("fc03-1", "fc03-10", "fc03-100", "fc03-10x8", "fc16-10")
NOTHING = "-"


def render(
    figures: Figures, goals: Iterable[Goal], rows: dict[str, str], servers: dict[str, str], preface: str
) -> str:
    """Return all tables that have something to show; `rows` and `servers` are titles by key, in order."""
    parts = [
        ("Goals", goal_table(figures, goals)),
        ("Right answers a second", load_table(figures, rows, servers)),
        ("Readers beside writers, history on", beside_table(figures)),
        ("2,000 control-zone reads a second beside field writers", zones_table(figures, servers)),
        ("One reader while bad frames come in", bad_frames_table(figures, servers)),
        ("Start and memory", footprint_table(figures, servers)),
    ]
    shown = [f"## {title}\n\n{table}" for title, table in parts if table]
    return "\n\n".join(["# Benchmark", preface, *shown]) + "\n"


def goal_table(figures: Figures, goals: Iterable[Goal]) -> str:
    """Return each goal with what was found."""
    lines = []
    for goal in goals:
        value = figures.value(goal)
        if value is not None:
            found = figures.found(goal)
            spread = f"{goal.show(min(found))} to {goal.show(max(found))}"
            lines.append((goal.title, goal.text(), goal.show(value), spread, figures.judge(goal).value))
    return table(("goal", "bound", "found", "rounds", "verdict"), lines)


def load_table(figures: Figures, rows: dict[str, str], servers: dict[str, str]) -> str:
    """Return the rows in which one group of connections asks as fast as it is answered."""
    lines = []
    for row in LOAD_ROWS:
        for server, title in servers.items():
            rate = Figure(row, server, "rate")
            if not figures.rounds(rate):
                continue
            libmodbus, pymodbus = (
                ratio(figures.ratio(rate, Figure(row, peer, "rate"))) for peer in ("libmodbus", "pymodbus")
            )
            cpu = figures.median(Figure(row, server, "cpu"))
            times = (count(figures.median(Figure(row, server, key))) for key in ("p50", "p99", "p99_9"))
            faults = (count(figures.total(Figure(row, server, key))) for key in ("lost", "wrong"))
            lines.append(
                (
                    rows[row],
                    title,
                    count(figures.median(rate)),
                    libmodbus,
                    pymodbus,
                    decimal(cpu),
                    *times,
                    *faults,
                )
            )
    head = ("work", "server", "answers/s", "to libmodbus", "to pymodbus", "CPU µs/answer")
    return table((*head, "p50 µs", "p99 µs", "p99.9 µs", "lost", "wrong"), lines)


def beside_table(figures: Figures) -> str:
    """Return how readers fare beside writers."""
    lines = []
    for title, prefix, writers in (
        ("10 connections, as fast as answered", "", "rate_writers"),
        ("10 connections, 2,000 reads a second in all", "_paced", "rate_paced_writers"),
    ):
        alone, beside = (
            Figure("beside-writes", "ours", f"p99{prefix}_{when}") for when in ("alone", "beside")
        )
        if not figures.rounds(alone):
            continue
        rates = (
            count(figures.median(Figure("beside-writes", "ours", key)))
            for key in (f"rate{prefix}_alone", f"rate{prefix}_beside", "rate_full", writers)
        )
        p99 = (count(figures.median(alone)), count(figures.median(beside)))
        lines.append((title, *rates, *p99, ratio(figures.ratio(beside, alone))))
    head = ("readers", "reads/s alone", "reads/s beside", "full writes/s", "writes/s beside")
    return table((*head, "p99 alone µs", "p99 beside µs", "ratio"), lines)


def zones_table(figures: Figures, servers: dict[str, str]) -> str:
    """Return how the control zone's readers fare beside the field's writers."""
    lines = []
    for server, title in servers.items():
        if not figures.rounds(Figure("zones", server, "p99_beside")):
            continue
        keys = [f"{part}_{when}" for when in ("alone", "beside") for part in ("p50", "p99", "p99_9")]
        found = (figures.median(Figure("zones", server, key)) for key in (*keys, "rate_writers"))
        p99 = ratio(
            figures.ratio(Figure("zones", server, "p99_beside"), Figure("zones", server, "p99_alone"))
        )
        lines.append((title, *map(count, found), p99))
    times = ("p50 µs", "p99 µs", "p99.9 µs")
    head = (
        "server",
        *(f"alone: {time}" for time in times),
        *(f"beside: {time}" for time in times),
        "writes/s",
        "p99 beside to alone",
    )
    return table(head, lines)


def bad_frames_table(figures: Figures, servers: dict[str, str]) -> str:
    """Return what one reader notices of another client's bad frames."""
    lines = []
    for server, title in servers.items():
        keys = ("p99_alone", "p99_bad", "max_bad")
        if not figures.rounds(Figure("bad-frames", server, "p99_bad")):
            continue
        times = (count(figures.median(Figure("bad-frames", server, key))) for key in keys)
        totals = (count(figures.total(Figure("bad-frames", server, key))) for key in ("lost", "frames"))
        lines.append((title, *times, *totals))
    head = ("server", "p99 alone µs", "p99 beside bad frames µs", "slowest µs", "lost", "bad frames sent")
    return table(head, lines)


def footprint_table(figures: Figures, servers: dict[str, str]) -> str:
    """Return start-up and memory."""
    lines = []
    for server, title in servers.items():
        found = (
            figures.median(Figure("start", server, "start")),
            figures.median(Figure("memory", server, "memory")),
        )
        if any(value is not None for value in found):
            lines.append((title, *map(decimal, found)))
    return table(("server", "start to first answer ms", "memory, 1,000 idle connections MiB"), lines)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns align in a terminal, too; empty without lines."""
    if not lines:
        return ""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    ruler = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (head, ruler, *lines)
    )


def count(value: float | None) -> str:
    """Return a number without decimals."""
    return NOTHING if value is None else f"{value:,.0f}"


def decimal(value: float | None) -> str:
    """Return a number with one decimal."""
    return NOTHING if value is None else f"{value:,.1f}"


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return NOTHING if value is None else f"{value:.2f}"
