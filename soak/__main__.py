"""`python -m soak`: put the concentrator through hardships, and print what was lost. Needs root."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.integration.networks import remove_stale

from soak import clock, crowd, disk, kills, malformed, network, power, restarts, retries
from soak.machine import describe, remove_stale_folders
from soak.places import PREFIX
from soak.report import Outcome, document, table

RESULTS = Path(__file__).with_name("results.md")
SEED = 20160101

Say = Callable[[str], None]
HARDSHIPS: dict[str, Callable[[int, bool, Say], Outcome]] = {
    "frames": lambda seed, quick, say: malformed.run(20_000 if quick else 1_000_000, seed, say),
    "kills": lambda seed, quick, say: kills.run(5 if quick else 100, seed, say),
    "restarts": lambda _, quick, say: restarts.run(4 if quick else 50, restarts.Binding.PLAIN, say),
    "activation": lambda _, quick, say: restarts.run(4 if quick else 50, restarts.Binding.SOCKET, say),
    "network": lambda seed, quick, say: network.run(1 if quick else 3, seed, say),
    "disk": lambda _, quick, say: disk.run(1 if quick else 3, say),
    "clock": lambda _, quick, say: clock.run(1 if quick else 3, say),
    "retries": lambda seed, quick, say: retries.run(5 if quick else 60, seed, say),
    "crowd": lambda _, quick, say: crowd.run(4 if quick else 30, say),
    "power": lambda seed, quick, say: power.run(*((2, 1) if quick else (50, 5)), seed, say),
}


def main() -> int:
    """Return 0 where nothing was lost that must not be, 1 where something was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=HARDSHIPS, default=list(HARDSHIPS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small counts: does the soak itself work?")
    parser.add_argument("--seed", type=int, default=SEED, help="brings the same frames and moments again")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        print("soak: network namespaces and mounts need root: `make soak` asks for it", file=sys.stderr)
        return 2
    remove_stale_folders()
    remove_stale(PREFIX)
    print(f"seed {asked.seed}", flush=True)
    began = time.monotonic()
    outcomes = [_go_through(name, asked.seed, asked.quick) for name in asked.only]
    seconds = time.monotonic() - began
    print(f"\n{table(outcomes)}\n", flush=True)
    lost = sum(bool(outcome.failures) for outcome in outcomes)
    print(
        f"{lost} of {len(outcomes)} lost what must not be lost; {seconds / 60:.1f} minutes, seed {asked.seed}"
    )
    if not asked.quick and asked.only == list(HARDSHIPS):
        RESULTS.write_text(document(outcomes, describe(), asked.seed, seconds))
        # Whoever owns the folder owns what is written there, though root has run this.
        owner = RESULTS.parent.stat()
        os.chown(RESULTS, owner.st_uid, owner.st_gid)
    return 1 if lost else 0


def _go_through(name: str, seed: int, quick: bool) -> Outcome:
    began = time.monotonic()
    say = partial(_say, began, name)
    say("begins")
    try:
        outcome = HARDSHIPS[name](seed, quick, say)
    except Exception as error:
        # The others are of interest, whatever became of this one.
        text = f"broke off: {type(error).__name__}: {error}"
        say(text)
        return Outcome(name, "", "", (text.splitlines()[0],))
    say("all is well" if not outcome.failures else f"FAILED: {'; '.join(outcome.failures)}")
    return outcome


def _say(began: float, name: str, text: str) -> None:
    print(f"[{name} {time.monotonic() - began:4.0f} s] {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
