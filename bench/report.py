"""The tables of a run, in Markdown for the terminal and for `results.md`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.figures import Figure, Figures, Goal

LOAD_ROWS = ("fc03-1", "fc03-10", "fc03-100", "fc03-10x8", "fc16-10", "fc06-1", "fc06-8")
NOTHING = "-"


def render(
    figures: Figures, goals: Iterable[Goal], rows: dict[str, str], servers: dict[str, str], preface: str
) -> str:
    """Return all tables that are not empty; `rows` and `servers` are titles by key, in order."""
    parts = [
        ("Goals", goal_table(figures, goals)),
        ("Correct replies per second", load_table(figures, rows, servers)),
        ("Readers with and without writers, history on", beside_table(figures)),
        ("2,000 control-zone reads per second with field writers", zones_table(figures, servers)),
        ("One reader while another client sends bad frames", bad_frames_table(figures, servers)),
        ("Start and memory", footprint_table(figures, servers)),
    ]
    shown = [f"## {title}\n\n{table}" for title, table in parts if table]
    return "\n\n".join(["# Benchmark", preface, *shown]) + "\n"


def goal_table(figures: Figures, goals: Iterable[Goal]) -> str:
    """Return each goal with the measured value."""
    lines = []
    for goal in goals:
        value = figures.value(goal)
        if value is not None:
            found = figures.found(goal)
            spread = f"{goal.show(min(found))} to {goal.show(max(found))}"
            lines.append((goal.title, goal.text(), goal.show(value), spread, figures.judge(goal).value))
    return table(("goal", "bound", "measured", "rounds", "verdict"), lines)


def load_table(figures: Figures, rows: dict[str, str], servers: dict[str, str]) -> str:
    """Return the rows in which one group of connections sends requests as fast as the server answers."""
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
    head = ("work", "server", "replies/s", "ratio to libmodbus", "ratio to pymodbus", "CPU µs/reply")
    return table((*head, "p50 µs", "p99 µs", "p99.9 µs", "lost", "wrong"), lines)


def beside_table(figures: Figures) -> str:
    """Return rates and times of readers without and with writers."""
    lines = []
    for title, prefix, writers in (
        ("10 connections, as fast as answered", "", "rate_writers"),
        ("10 connections, 2,000 reads per second in total", "_paced", "rate_paced_writers"),
    ):
        without, beside = (
            Figure("beside-writes", "ours", f"p99{prefix}{suffix}") for suffix in ("_alone", "_beside")
        )
        if not figures.rounds(without):
            continue
        rates = (
            count(figures.median(Figure("beside-writes", "ours", key)))
            for key in (f"rate{prefix}_alone", f"rate{prefix}_beside", "rate_full", writers)
        )
        p99 = (count(figures.median(without)), count(figures.median(beside)))
        lines.append((title, *rates, *p99, ratio(figures.ratio(beside, without))))
    reads = ("reads/s, no writers", "reads/s, with writers")
    writes = ("writes/s, no readers", "writes/s, with readers")
    return table(("readers", *reads, *writes, "p99 µs, no writers", "p99 µs, with writers", "ratio"), lines)


def zones_table(figures: Figures, servers: dict[str, str]) -> str:
    """Return the times of the control zone's readers without field writers, and with fewer and more."""
    lines = []
    for server, title in servers.items():
        without = Figure("zones", server, "p99_alone")
        if not figures.rounds(without):
            continue
        for writers, suffix in (
            ("none", "_alone"),
            ("2,000 writes/s", "_paced"),
            ("as fast as answered", "_fast"),
        ):
            keys = (f"writes{suffix}", *(f"{part}{suffix}" for part in ("p50", "p99", "p99_9")))
            found = (figures.median(Figure("zones", server, key)) for key in keys)
            p99 = figures.ratio(Figure("zones", server, f"p99{suffix}"), without)
            lines.append((title, writers, *map(count, found), ratio(p99)))
    head = ("server", "field writers", "writes/s", "p50 µs", "p99 µs", "p99.9 µs", "p99 relative to none")
    return table(head, lines)


def bad_frames_table(figures: Figures, servers: dict[str, str]) -> str:
    """Return how another client's bad frames affect one reader."""
    lines = []
    for server, title in servers.items():
        keys = ("p99_alone", "p99_bad", "max_bad")
        if not figures.rounds(Figure("bad-frames", server, "p99_bad")):
            continue
        times = (count(figures.median(Figure("bad-frames", server, key))) for key in keys)
        totals = (count(figures.total(Figure("bad-frames", server, key))) for key in ("lost", "frames"))
        lines.append((title, *times, *totals))
    p99 = ("p99 µs, no bad frames", "p99 µs, with bad frames")
    return table(("server", *p99, "slowest µs", "lost", "bad frames sent"), lines)


def footprint_table(figures: Figures, servers: dict[str, str]) -> str:
    """Return start-up times and memory."""
    lines = []
    for server, title in servers.items():
        found = (
            figures.median(Figure("start", server, "start")),
            figures.median(Figure("memory", server, "memory")),
        )
        if any(value is not None for value in found):
            lines.append((title, *map(decimal, found)))
    return table(("server", "start to first reply, ms", "memory, 1,000 idle connections, MiB"), lines)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns; empty without lines."""
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
