"""Redeploy a fleet's configuration with ours and with pyinfra, and compare with a plain SSH login."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import machine
from bench.figures import Figures, Record
from bench.fleet.report import Deploy, render
from bench.fleet.site import Site, again, site
from bench.fleet.ways import SCALES, Ways
from bench.programs import BenchError

RESULTS = Path(__file__).parent / "results.md"
_LAB = "fleetbench"
Log = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if everything was measured and every Pi ran the right configuration, else 1."""
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0:
        print("bench.fleet: virtual Pis need root; use `make bench-fleet`", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()

    def log(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    counts = options.pis
    deploys: list[Deploy] = []
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if options.again:
                made = again(_LAB, counts[-1])
            else:
                made = stack.enter_context(site(_LAB, counts[-1], keep=options.keep, log=log))
                deploys = _provision(made, counts, log)
            ways = Ways(made, folder)
            log("deploying both configurations, to get the files for pyinfra")
            ways.prepare_pyinfra()
            others = machine.share_in_use()
            records = [
                record
                for number in range(1, options.rounds + 1)
                for count in counts
                for record in _measure(ways, count, number, log)
            ]
    except BenchError as error:
        print(f"bench.fleet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    preface = (
        f"{machine.describe()}; the {counts[-1]} virtual Pis share these CPUs with the controller. "
        f"Before the start, {others:.0%} of them were in use. {options.rounds} interleaved rounds, "
        f"{(time.monotonic() - started) / 60:.0f} minutes in total. Seconds from a command's start to its "
        "end, with no connection open at the start; medians, and ratios paired by round. After every run it "
        "was checked that each Pi's service ran the right configuration."
    )
    text = render(Figures(records), counts, deploys, preface)
    print(f"\n{text}")
    if options.output is not None:
        options.output.write_text(text)
    return 0


def _provision(made: Site, counts: Sequence[int], log: Log) -> list[Deploy]:
    """Provision all Pis, in one step per count."""
    deploys = []
    for done, count in zip([0, *counts], counts, strict=False):
        fresh = made.names[done:count]
        log(f"provisioning {len(fresh)} fresh Pis")
        deploys.append(Deploy(len(fresh), made.provision(fresh)))
    return deploys


def _measure(ways: Ways, count: int, number: int, log: Log) -> list[Record]:
    """Measure one round on the first `count` Pis. They have the first scale before and afterwards."""
    before, after = SCALES
    names = ways.site.names[:count]
    runs: list[tuple[str, str, Callable[[], float], int]] = [
        ("same", "floor", partial(ways.floor, names), before),
        ("same", "ours", partial(ways.ours, names, before), before),
        ("same", "pyinfra", partial(ways.pyinfra, names, before), before),
        ("change", "floor", partial(ways.floor, names), before),
        ("change", "ours", partial(ways.ours, names, after), after),
        ("change", "pyinfra", partial(ways.pyinfra, names, before), before),
    ]
    records = []
    for work, way, run, scale in runs:
        seconds = run()
        ways.check(names, scale)
        records.append(Record(f"{work}-{count}", way, number, {"seconds": seconds}))
        log(f"round {number}, Pis: {count:2}, {work:6}  {way:7} {seconds:6.2f} s")
    return records


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument(
        "--pis", type=_counts, default=[1, 5, 20], help="numbers of Pis to measure (1,5,20; at most 50)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often to repeat every measurement (3)")
    parser.add_argument("--keep", action="store_true", help="leave the Pis running at the end, for --again")
    parser.add_argument("--again", action="store_true", help="measure the Pis of an earlier run with --keep")
    parser.add_argument("--output", type=Path, help=f"write the tables to a file as well, as {RESULTS.name}")
    return parser


def _counts(text: str) -> list[int]:
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        counts = []
    if not counts or not 1 <= counts[0] <= counts[-1] <= 50:
        raise argparse.ArgumentTypeError(f"{text!r} can't be used; give numbers from 1 to 50, such as 1,5,20")
    return counts


if __name__ == "__main__":
    sys.exit(main())
