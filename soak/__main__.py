"""Run the concentrator under faults, and print what was lost. Needs root."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.integration.networks import remove_stale

from soak import clock, crowd, disk, flood, kills, malformed, network, power, restarts, retries
from soak.machine import describe, remove_stale_folders
from soak.places import PREFIX
from soak.report import Outcome, document, table

RESULTS = Path(__file__).with_name("results.md")
SEED = 20160101

Log = Callable[[str], None]
SCENARIOS: dict[str, Callable[[int, bool, Log], Outcome]] = {
    "frames": lambda seed, quick, log: malformed.run(20_000 if quick else 1_000_000, seed, log),
    "kills": lambda seed, quick, log: kills.run(5 if quick else 100, seed, log),
    "kills-30": lambda seed, quick, log: kills.run(5 if quick else 100, seed, log, 30),
    "restarts": lambda _, quick, log: restarts.run(4 if quick else 50, restarts.Binding.PLAIN, log),
    "activation": lambda _, quick, log: restarts.run(4 if quick else 50, restarts.Binding.SOCKET, log),
    "network": lambda seed, quick, log: network.run(1 if quick else 3, seed, log),
    "disk": lambda _, quick, log: disk.run(1 if quick else 3, log),
    "clock": lambda _, quick, log: clock.run(1 if quick else 3, log),
    "retries": lambda seed, quick, log: retries.run(5 if quick else 60, seed, log),
    "crowd": lambda _, quick, log: crowd.run(4 if quick else 30, log),
    "flood": lambda _, quick, log: flood.run(6 if quick else 20, log),
    "power": lambda seed, quick, log: power.run(*((2, 1) if quick else (50, 5)), seed, log),
}
"""Each takes the seed, whether to use small counts, and a function that logs a line."""


def main() -> int:
    """Return 0 if every scenario passed, 1 if one failed, 2 without root."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    names = ", ".join(SCENARIOS)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SCENARIOS,
        default=list(SCENARIOS),
        metavar="NAME",
        help=f"run only these scenarios: {names}",
    )
    parser.add_argument("--quick", action="store_true", help="use small counts, to check the soak itself")
    parser.add_argument("--seed", type=int, default=SEED, help="the same seed repeats frames and moments")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("soak: needs root for network namespaces and mounts; run `make soak`", file=sys.stderr)
        return 2
    remove_stale_folders()
    remove_stale(PREFIX)
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    outcomes = [_run(name, options.seed, options.quick) for name in options.only]
    seconds = time.monotonic() - started
    print(f"\n{table(outcomes)}\n", flush=True)
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    print(f"{failed} of {len(outcomes)} failed; {seconds / 60:.1f} minutes, seed {options.seed}")
    if not options.quick and options.only == list(SCENARIOS):
        RESULTS.write_text(document(outcomes, describe(), options.seed, seconds))
        # The file should belong to the owner of the folder, not to root.
        owner = RESULTS.parent.stat()
        os.chown(RESULTS, owner.st_uid, owner.st_gid)
    return 1 if failed else 0


def _run(name: str, seed: int, quick: bool) -> Outcome:
    log = partial(_log, time.monotonic(), name)
    log("started")
    try:
        outcome = SCENARIOS[name](seed, quick, log)
    except Exception as error:
        # The other scenarios should run all the same.
        text = f"aborted: {type(error).__name__}: {error}"
        log(text)
        return Outcome(name, "", "", (text.splitlines()[0],))
    log("passed" if not outcome.failures else f"FAILED: {'; '.join(outcome.failures)}")
    return outcome


def _log(started: float, name: str, text: str) -> None:
    print(f"[{name} {time.monotonic() - started:4.0f} s] {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
