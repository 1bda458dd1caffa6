"""The measurements: each row puts one kind of load on one server and returns its figures."""

from __future__ import annotations

import random
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.machine import Cpus
from bench.programs import READ, WARM_UP, WRITE, WRITE_ONE, BadFrames, Group, Load, Outcome
from bench.samples import compare, differences
from bench.servers import Kind, Server, folder_for_runs, hold, release

IDLE = 1000
STARTS = 3
"""Starts per round."""
OPTA_RATE = 500
"""Reads per second during bad frames, far below what any server can do, so that a late reply was held up."""
PACED_RATE = 2000
"""Reads, and writes, per second of many connections at a fixed rate."""
BAD_RATE = 200
"""Bad frames per second."""
PEERS = ("libmodbus", "pymodbus", "pymodbustcp", "pymodbus-uvloop")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements have in common."""

    seconds: float
    """How long each load runs, without its warm-up."""
    cpus: Cpus

    @contextmanager
    def server(self, kind: Kind) -> Iterator[tuple[Server, Load]]:
        """Start a server with the values that readers expect, and a load generator for it."""
        with (
            tempfile.TemporaryDirectory(prefix="run-", dir=folder_for_runs()) as folder,
            Server(kind, Path(folder), self.cpus) as server,
        ):
            server.preset()
            yield server, Load(server.port, self.cpus.load, kind.ways)


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of load, and the servers that are measured with it."""

    key: str
    title: str
    servers: tuple[str, ...]
    measure: Callable[[Bench, Kind], dict[str, float]]


def load_row(key: str, title: str, group: Group, *ours: str) -> Row:
    """Return a row in which one group of connections sends requests as fast as the server answers."""

    def measure(bench: Bench, kind: Kind) -> dict[str, float]:
        with bench.server(kind) as (server, load):
            before = server.cpu_seconds()
            [outcome] = load.run(bench.seconds, group)
            cpu = (server.cpu_seconds() - before) * 1e6 / max(outcome.answered, 1)
            found = {**values(outcome), "cpu": cpu}
            if group.function == WRITE_ONE:
                return {**found, **mixed_rows(server, outcome)}
            return {**found, **missing_rows(server, outcome.written)}

    return Row(key, title, (*ours, *PEERS), measure)


def values(outcome: Outcome, suffix: str = "") -> dict[str, float]:
    """Return the figures of an outcome by key."""
    return {
        f"rate{suffix}": outcome.rate,
        f"p50{suffix}": outcome.p50,
        f"p99{suffix}": outcome.p99,
        f"p99_9{suffix}": outcome.p99_9,
        f"max{suffix}": outcome.max,
        **faults(outcome),
    }


def faults(*outcomes: Outcome) -> dict[str, float]:
    """Return the sums of the faults in several outcomes."""
    return {
        "wrong": sum(outcome.wrong for outcome in outcomes),
        "lost": sum(outcome.lost for outcome in outcomes),
        "closed": sum(outcome.closed for outcome in outcomes),
        "answered": sum(outcome.answered for outcome in outcomes),
    }


def missing_rows(server: Server, written: int) -> dict[str, float]:
    """Stop a server with a history; return how many of its rows differ from the acknowledged samples.

    written: the number of acknowledged samples without the preset one. The load numbers them from 0.
    """
    if not server.kind.records or not written:
        return {}
    server.stop()
    rows = server.samples_on_disk()
    return {"rows": len(rows), "rows_differ": differences(rows, written)}


def mixed_rows(server: Server, outcome: Outcome) -> dict[str, float]:
    """Stop a server with a history whose samples came register by register; return how many rows are wrong.

    A sample in which the load was held up for long may have no row: a writer's pause ends its cycle.
    """
    if not server.kind.records:
        return {}
    server.stop()
    rows = server.samples_on_disk()
    wrong, missing = compare(rows, outcome.begun)
    unfinished = outcome.begun - outcome.written
    return {"rows": len(rows), "rows_differ": wrong, "rows_missing": max(missing - unfinished, 0)}


def beside_writes(bench: Bench, kind: Kind) -> dict[str, float]:
    """Measure readers without writers, writers without readers, and readers with writers at half their rate.

    The readers are measured twice: as fast as the server answers, and with a fixed rate.
    """
    readers = Group(READ, 10, expect="sample")
    paced = Group(READ, 10, rate=PACED_RATE, expect="sample")
    with bench.server(kind) as (server, load):
        [undisturbed] = load.run(bench.seconds, readers)
        [paced_undisturbed] = load.run(bench.seconds, paced)
        [full] = load.run(bench.seconds, Group(WRITE, 10))
        half = Group(WRITE, 10, rate=full.rate / 2)
        beside, writers = load.run(bench.seconds, readers, half)
        paced_beside, paced_writers = load.run(bench.seconds, paced, half)
        written = sum(outcome.written for outcome in (full, writers, paced_writers))
        return {
            **values(undisturbed, "_alone"),
            **values(beside, "_beside"),
            **values(paced_undisturbed, "_paced_alone"),
            **values(paced_beside, "_paced_beside"),
            "rate_full": full.rate,
            "rate_writers": writers.rate,
            "rate_paced_writers": paced_writers.rate,
            **faults(undisturbed, paced_undisturbed, full, beside, writers, paced_beside, paced_writers),
            **missing_rows(server, written),
        }


def zones(bench: Bench, kind: Kind) -> dict[str, float]:
    """Measure the control zone's paced readers without field writers, with paced ones, and with fast ones."""
    readers = Group(READ, 10, rate=PACED_RATE, expect="sample")
    with bench.server(kind) as (server, load):
        [undisturbed] = load.run(bench.seconds, readers)
        beside_paced, paced = load.run(bench.seconds, readers, Group(WRITE, 10, rate=PACED_RATE))
        beside, fast = load.run(bench.seconds, readers, Group(WRITE, 10))
        return {
            **values(undisturbed, "_alone"),
            **values(beside_paced, "_paced"),
            **values(beside, "_fast"),
            "writes_paced": paced.rate,
            "writes_fast": fast.rate,
            **faults(undisturbed, beside_paced, paced, beside, fast),
            **missing_rows(server, paced.written + fast.written),
        }


def bad_frames(bench: Bench, kind: Kind) -> dict[str, float]:
    """Measure one reader at a fixed rate, without and with another client that sends bad frames."""
    reader = Group(READ, 1, rate=OPTA_RATE)
    with bench.server(kind) as (server, load), tempfile.TemporaryDirectory() as folder:
        [undisturbed] = load.run(bench.seconds, reader)
        files = write_bad_frames(Path(folder))
        duration = bench.seconds + WARM_UP + 0.5
        with BadFrames(
            kind.ways.writers, server.port, bench.cpus.load, rate=BAD_RATE, seconds=duration, files=files
        ) as sender:
            [beside] = load.run(bench.seconds, reader)
            sent = sender.finish()
        return {
            **values(undisturbed, "_alone"),
            **values(beside, "_bad"),
            **faults(undisturbed, beside),
            "frames": sent,
        }


def write_bad_frames(folder: Path) -> list[Path]:
    """Write each bad frame to a separate file."""
    frames: Mapping[str, bytes] = {
        "protocol-identifier-1": struct.pack(">HHHBBHH", 1, 1, 6, 1, READ, 0, 8),
        "length-65535": struct.pack(">HHHBBHH", 2, 0, 65535, 1, READ, 0, 8),
        "function-0x55": struct.pack(">HHHBB", 3, 0, 2, 1, 0x55),
        "quantity-126": struct.pack(">HHHBBHH", 4, 0, 6, 1, READ, 0, 126),
        "random-64-KiB": random.Random(0).randbytes(65536),  # noqa: S311 - the same bytes in each run
    }
    paths = []
    for name, data in frames.items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return paths


def memory(bench: Bench, kind: Kind) -> dict[str, float]:
    """Measure the resident memory while many connections are open and idle, after one request each."""
    with bench.server(kind) as (server, _):
        held = hold(server, IDLE)
        try:
            return {"memory": server.memory_mib()}
        finally:
            release(held)


def start(bench: Bench, kind: Kind) -> dict[str, float]:
    """Measure the time from the start of the process to the first correct reply."""
    took = []
    for _ in range(STARTS):
        with bench.server(kind) as (server, _):
            took.append(server.start_ms)
    return {"start": median(took)}


ROWS = {
    row.key: row
    for row in (
        load_row("fc03-1", "FC03, 1 connection", Group(READ, 1), "ours"),
        load_row("fc03-10", "FC03, 10 connections", Group(READ, 10), "ours"),
        load_row("fc03-100", "FC03, 100 connections", Group(READ, 100), "ours"),
        load_row("fc03-10x8", "FC03, 10 connections, 8 in flight", Group(READ, 10, depth=8), "ours"),
        load_row("fc16-10", "FC16, 10 connections", Group(WRITE, 10), "ours-no-history", "ours"),
        load_row("fc06-1", "FC06, 1 connection", Group(WRITE_ONE, 1), "ours-no-history", "ours"),
        load_row("fc06-8", "FC06, 8 connections", Group(WRITE_ONE, 8), "ours-no-history", "ours"),
        Row("beside-writes", "FC03 with FC16 at half load", ("ours",), beside_writes),
        Row("zones", "Control-zone reads beside field writes", ("ours",), zones),
        Row("bad-frames", "FC03 while another client sends bad frames", ("ours", *PEERS), bad_frames),
        Row("memory", f"Memory, {IDLE:,} idle connections", ("ours", *PEERS), memory),
        Row("start", "Start to first reply", ("ours", *PEERS), start),
    )
}
