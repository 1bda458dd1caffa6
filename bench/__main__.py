"""Measure the concentrator and its peers in turn, print the tables and check the goals."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import machine
from bench.figures import Figures, Record
from bench.goals import GOALS
from bench.programs import BenchError
from bench.report import render
from bench.rows import ROWS, Bench
from bench.servers import MAX_CONNECTIONS, Kind, kinds

RESULTS = Path(__file__).parent / "results.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if ours answered everything correctly and stored every sample, else 1; goals do not count."""
    available = kinds()
    parser = _parser(available)
    options = parser.parse_args(arguments)
    if options == parser.parse_args([]):
        options.output = RESULTS
    # Even if the shell started us in the background, where it ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _allow_descriptors(MAX_CONNECTIONS + 100)
    cpus = machine.pick_cpus()
    bench = Bench(options.seconds, cpus)
    chosen = {key: available[key] for key in options.servers}
    started, before = time.monotonic(), machine.others_seconds()
    try:
        records = measure(bench, options.rows, chosen, options.rounds)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    took = time.monotonic() - started
    others = (machine.others_seconds() - before) / took / machine.cpu_count()
    load_cpu = "another" if cpus.server != cpus.load else "the same"
    preface = (
        f"{machine.describe()}. Servers on one CPU, load on {load_cpu}; "
        f"{options.rounds} interleaved rounds of {options.seconds:g} s, {took / 60:.1f} minutes in total. "
        f"Other programs used {others:.0%} of the CPUs meanwhile. "
        "Medians; ratios are paired by round. Every reply was checked. "
        "The history has no budget (max_samples_per_second = 0)."
    )
    figures = Figures(records)
    text = render(
        figures,
        GOALS,
        {key: row.title for key, row in ROWS.items()},
        {key: kind.title for key, kind in available.items()},
        preface,
    )
    print(f"\n{text}")
    if options.output is not None:
        options.output.write_text(text)
    faults = our_faults(records, available)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


def measure(bench: Bench, rows: Sequence[str], servers: dict[str, Kind], rounds: int) -> list[Record]:
    """Return the records of all rounds. Within a round, each row is measured with all servers in turn."""
    records = []
    for number in range(1, rounds + 1):
        for row in (ROWS[key] for key in rows):
            for server in (key for key in servers if key in row.servers):
                record = Record(row.key, server, number, row.measure(bench, servers[server]))
                records.append(record)
                print(f"{number}/{rounds}  {row.key:<13}  {server:<15}  {summary(record)}", flush=True)
    return records


def summary(record: Record) -> str:
    """Return a record as one line."""
    return "  ".join(f"{key} {value:,.6g}" for key, value in record.values.items())


def our_faults(records: Sequence[Record], servers: dict[str, Kind]) -> list[str]:
    """Return the faults of ours: wrong and lost replies, closed connections, samples that were not stored."""
    return [
        f"round {record.round}, {record.row}, {servers[record.server].title}: {key} {record.values[key]:g}"
        for record in records
        if servers[record.server].ours
        for key in ("wrong", "lost", "closed", "rows_differ")
        if record.values.get(key)
    ]


def default_servers(available: dict[str, Kind]) -> list[str]:
    """Return the servers that are measured by default."""
    return [key for key in available if key != "pymodbus-uvloop"]


def _parser(available: dict[str, Kind]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rows", type=_list_of(list(ROWS)), default=list(ROWS), help=f"some of {','.join(ROWS)} (all)"
    )
    parser.add_argument(
        "--servers",
        type=_list_of(list(available)),
        default=default_servers(available),
        help=f"some of {','.join(available)} (all except pymodbus-uvloop)",
    )
    parser.add_argument(
        "--rounds", type=_positive(int), default=5, help="how often to repeat every measurement (5)"
    )
    parser.add_argument("--seconds", type=_positive(float), default=1.2, help="how long each load runs (1.2)")
    parser.add_argument(
        "--output", type=Path, help="also write the tables to this file (bench/results.md without any option)"
    )
    return parser


def _positive(number: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = number(text)
        if not 0 < value <= 600:
            raise argparse.ArgumentTypeError(f"{text!r} can't be used; give a number above 0, at most 600")
        return value

    return parse


def _list_of(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        # Always in the same order.
        return [name for name in known if name in names]

    return parse


def _allow_descriptors(count: int) -> None:
    # Servers inherit the limit: a peer must not fail because of the shell's limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
