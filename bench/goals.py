"""The goals of this concentrator, mostly as ratios within one run."""

from __future__ import annotations

from bench.figures import Figure, Goal


def _ours(row: str, key: str, server: str = "ours") -> Figure:
    return Figure(row, server, key)


GOALS = (
    Goal(
        "FC03, 100 connections: replies/s relative to libmodbus",
        _ours("fc03-100", "rate"),
        at_least=True,
        bound=1.0,
        to=Figure("fc03-100", "libmodbus", "rate"),
    ),
    Goal(
        "FC03, 100 connections: replies/s relative to pymodbus",
        _ours("fc03-100", "rate"),
        at_least=True,
        bound=4.0,
        to=Figure("fc03-100", "pymodbus", "rate"),
    ),
    Goal(
        "FC03, 100 connections: p99 relative to libmodbus",
        _ours("fc03-100", "p99"),
        at_least=False,
        bound=1.0,
        to=Figure("fc03-100", "libmodbus", "p99"),
    ),
    Goal(
        "FC03, 10 connections, 8 in flight: replies/s relative to libmodbus",
        _ours("fc03-10x8", "rate"),
        at_least=True,
        bound=4.0,
        to=Figure("fc03-10x8", "libmodbus", "rate"),
    ),
    Goal(
        "FC03, 10 connections, 8 in flight: replies lost",
        _ours("fc03-10x8", "lost"),
        at_least=False,
        bound=0,
        worst=True,
    ),
    Goal(
        "FC16, 10 connections, history off: replies/s relative to libmodbus",
        _ours("fc16-10", "rate", "ours-no-history"),
        at_least=True,
        bound=1.0,
        to=Figure("fc16-10", "libmodbus", "rate"),
    ),
    Goal(
        "FC16, 10 connections, history on: replies/s relative to pymodbus",
        _ours("fc16-10", "rate"),
        at_least=True,
        bound=2.0,
        to=Figure("fc16-10", "pymodbus", "rate"),
    ),
    Goal(
        "FC16, 10 connections, history on: rows on disk that differ from acknowledged samples",
        _ours("fc16-10", "rows_differ"),
        at_least=False,
        bound=0,
        worst=True,
    ),
    Goal(
        "FC03, 1 connection: p50 relative to libmodbus",
        _ours("fc03-1", "p50"),
        at_least=False,
        bound=1.05,
        to=Figure("fc03-1", "libmodbus", "p50"),
    ),
    Goal(
        "FC03, 10 connections: p99 with FC16 at half load, relative to without",
        _ours("beside-writes", "p99_beside"),
        at_least=False,
        bound=2.0,
        to=_ours("beside-writes", "p99_alone"),
    ),
    Goal(
        "FC06, 8 connections, history on: rows on disk that are not one client's sample",
        _ours("fc06-8", "rows_differ"),
        at_least=False,
        bound=0,
        worst=True,
    ),
    Goal(
        "FC03, 2,000/s in the control zone: p99 with 2,000 field writes/s, relative to without",
        _ours("zones", "p99_paced"),
        at_least=False,
        bound=2.0,
        to=_ours("zones", "p99_alone"),
    ),
    Goal(
        "FC03, 2,000/s in the control zone: p99 with field writers at full speed, relative to without",
        _ours("zones", "p99_fast"),
        at_least=False,
        bound=2.0,
        to=_ours("zones", "p99_alone"),
    ),
    Goal(
        "Memory, 1,000 idle connections, relative to pymodbus",
        _ours("memory", "memory"),
        at_least=False,
        bound=1.0,
        to=Figure("memory", "pymodbus", "memory"),
    ),
    Goal(
        "Start to first reply, relative to pymodbus",
        _ours("start", "start"),
        at_least=False,
        bound=1.0,
        to=Figure("start", "pymodbus", "start"),
    ),
    Goal(
        "FC03 while another client sends bad frames: slowest reply",
        _ours("bad-frames", "max_bad"),
        at_least=False,
        bound=100_000,
        unit="µs",
        worst=True,
    ),
)
