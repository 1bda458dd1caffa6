"""Addresses that crowd a zone with more connections than are allowed: ESP32 and PLC lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.integration.networks import LINKS, PI, Networks
from tests.integration.program import Program, environment

from soak.crowd_clients import Totals
from soak.machine import SoakError, ending, work_folder
from soak.places import CONTROL, FIELD, networks
from soak.report import Ledger, Outcome, count

ADDRESSES = 20
_CONNECTIONS = 60
"""Of each address: together more than `max_connections` allows, and fewer than one address may have."""
_LIMIT = 1000
"""The default of `max_connections`."""
_INTERVAL = 1.0
"""Seconds between two samples of the ESP32, and between two reads of the PLC: of all connections, theirs are
idle longest."""
_ROOT = Path(__file__).parents[1]


def run(seconds: float, log: Callable[[str], None]) -> Outcome:
    """Crowd first the field zone and then the control zone, each for `seconds`."""
    ledger = Ledger()
    totals: list[Totals] = []
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder("crowd"))
        places = stack.enter_context(networks())
        program = Program(("run",), folder, prefix=places.within(PI))
        stack.enter_context(ending(program))
        program.wait_for("^Waiting for:$")
        esp32 = _simulate("esp32", FIELD, places, folder)
        stack.enter_context(ending(esp32))
        opta = _simulate("opta", CONTROL, places, folder)
        stack.enter_context(ending(opta))
        esp32.wait_for("^ESP32 wrote")
        opta.wait_for("^Opta read")
        for zone in (FIELD, CONTROL):
            log(f"the {zone} zone is crowded")
            totals.append(_crowd(places, zone, seconds))
            _judge(zone, totals[-1], ledger)
        missed = [client.out.count("trying again") for client in (esp32, opta)]
        done = [esp32.out.count("ESP32 wrote"), opta.out.count("Opta read")]
        for name, client, lost, number in zip(("ESP32", "Opta"), (esp32, opta), missed, done, strict=True):
            ledger.expect(
                lost == 0 and client.process.poll() is None, f"the {name} lost {count(lost, 'answer')}"
            )
            # One a second, while both zones are crowded in turn.
            ledger.expect(
                number >= 1.6 * seconds / _INTERVAL, f"the {name} had only {count(number, 'answer')}"
            )
        ledger.expect(program.stop()[0] == 0, "the program did not stop properly")
    return ledger.outcome(
        f"{ADDRESSES} addresses crowd the field zone, then the control zone, beside an ESP32 and an Opta",
        f"{count(sum(part.opened for part in totals), 'connection')}, at most {_LIMIT:,} allowed at once; "
        f"{sum(part.closed for part in totals):,} evicted",
        f"{missed[1]} of Opta's {missed[1] + done[1]} reads; "
        f"{missed[0]} of the ESP32's {missed[0] + done[0]} writes",
    )


def _judge(zone: str, totals: Totals, ledger: Ledger) -> None:
    """A crowd that stays below the limit, or that is not evicted from, proves nothing."""
    ledger.expect(totals.opened > _LIMIT, f"only {count(totals.opened, 'connection')} ({zone} zone)")
    ledger.expect(totals.closed > 0, f"no connection of the crowd was evicted ({zone} zone)")
    ledger.expect(totals.replies > 0, f"the crowd got no reply ({zone} zone)")


def _simulate(peer: str, zone: str, places: Networks, folder: Path) -> Program:
    own = LINKS[zone][1].partition("/")[0]
    arguments = ("simulate", peer, "--to", own, "--interval", str(_INTERVAL))
    return Program(arguments, folder, prefix=places.within(zone))


def _crowd(places: Networks, zone: str, seconds: float) -> Totals:
    """Let the addresses crowd a zone; return the counts of their connections."""
    own = LINKS[zone][1].partition("/")[0]
    network = own.rpartition(".")[0]
    sources = [f"{network}.{number}" for number in range(200, 200 + ADDRESSES)]
    places.add_addresses(zone, [f"{source}/24" for source in sources])
    command = (
        *(*places.within(zone), sys.executable, "-m", "soak.crowd_clients", own, "502"),
        *("--connections", str(_CONNECTIONS), "--seconds", str(seconds), "--sources", *sources),
    )
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode != 0:
        raise SoakError(f"the crowd: {done.stderr.strip()[-300:]}")
    return Totals(**json.loads(done.stdout))
