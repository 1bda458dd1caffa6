"""Writers that send register by register and lose every tenth reply: no sample mixes two cycles."""

from __future__ import annotations

import random
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from tests.integration.networks import WITH_US
from tests.integration.program import Connection, Program
from tests.unit.wire import read, write_one

from soak.machine import ending, wait_until, work_folder
from soak.report import Ledger, Outcome, count

REGISTERS = 8
LOST_EVERY = 10
_PAUSE = 0.2
"""Seconds between two cycles."""
_TIME_OUT = 0.04
"""Seconds after which a writer whose reply was lost sends the write again."""
_CONFIG_HEAD = """
[history]
path = "{path}"
commit_interval = 0.05
max_samples_per_second = 0
"""
_CONFIG_METER = """
[[meters]]
name = "{name}"
unit_id = {unit}
publish = "complete"
"""
_CONFIG_MEASUREMENT = """
[[meters.measurements]]
name = "r{address}"
address = {address}
type = "uint16"
"""


def orders(seed: int) -> dict[str, tuple[int, ...]]:
    """Return the orders in which the writers send their registers."""
    ascending = tuple(range(REGISTERS))
    shuffled = random.Random(seed).sample(ascending, REGISTERS)  # noqa: S311 - an order, not a secret
    return {"ascending": ascending, "descending": ascending[::-1], "shuffled": tuple(shuffled)}


def is_mixed(registers: bytes) -> bool:
    """Return whether the registers are not all of one cycle: each carries the number of its own."""
    return len(set(struct.unpack(f">{len(registers) // 2}H", registers))) != 1


@dataclass(slots=True)
class Writer:
    """Sends cycle after cycle. Each write is sent again if its reply is lost, as every client does."""

    port: int
    unit: int
    order: Sequence[int]
    cycles: int = 0
    lost: int = 0
    """Replies that were lost; each time the server had carried out the write."""
    wrong: int = 0
    """Replies that do not match the request."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Write until `stop` is set."""
        sent = 0
        with Connection(self.port) as connection:
            while not self.stop.wait(_PAUSE):
                # 0 is what an empty register reads as.
                cycle = self.cycles % 0xFFFF + 1
                for register in self.order:
                    request = write_one(register, cycle, self.unit)
                    sent += 1
                    if sent % LOST_EVERY == 0:
                        self.lost += 1
                        connection.ask(request)
                        time.sleep(_TIME_OUT)
                    self.wrong += connection.ask(request) != request
                self.cycles += 1


@dataclass(slots=True)
class Reader:
    """Reads all meters continuously."""

    port: int
    units: int
    reads: int = 0
    mixed: int = 0
    wrong: int = 0
    """Reads that did not return the registers."""
    cycles: dict[int, set[bytes]] = field(default_factory=dict)
    """The samples that were read, by unit."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until `stop` is set."""
        with Connection(self.port) as connection:
            while not self.stop.wait(0.005):
                for unit in range(1, self.units + 1):
                    reply = connection.ask(read(0, REGISTERS, unit))
                    self.reads += 1
                    self.take(unit, reply[9:])

    def take(self, unit: int, registers: bytes) -> None:
        """Count what a reply holds."""
        if len(registers) != 2 * REGISTERS:
            self.wrong += 1
        elif is_mixed(registers):
            self.mixed += 1
        else:
            self.cycles.setdefault(unit, set()).add(registers)


def run(seconds: float, seed: int, log: Callable[[str], None]) -> Outcome:
    """Write for `seconds`, in three orders at the same time, each to a meter of its own."""
    ledger = Ledger()
    wanted = orders(seed)
    with work_folder("retries") as folder:
        database = folder / "history.db"
        config = folder / "config.toml"
        config.write_text(_CONFIG_HEAD.format(path=database) + "".join(map(_meter, wanted, range(1, 4))))
        arguments = ("run", "--trial", "--config", str(config), "--port", "0")
        program = Program(arguments, folder, prefix=WITH_US)
        with ending(program):
            port = program.port()
            writers = [Writer(port, unit, order) for unit, order in enumerate(wanted.values(), 1)]
            reader = Reader(port, len(writers))
            log("writing in three orders")
            _load(writers, reader, seconds)
            ledger.expect(program.stop()[0] == 0, "the program did not stop properly")
        with closing(sqlite3.connect(database)) as history:
            stored = history.execute(
                "SELECT meters.unit_id, registers FROM samples JOIN meters ON meters.id = samples.meter"
            ).fetchall()
    mixed = sum(is_mixed(registers) for _, registers in stored)
    cycles = sum(writer.cycles for writer in writers)
    lost = sum(writer.lost for writer in writers)
    wrong = sum(writer.wrong for writer in writers) + reader.wrong
    ledger.expect(mixed == 0, f"{mixed:,} of {count(len(stored), 'stored sample')} mix two cycles")
    ledger.expect(reader.mixed == 0, f"{reader.mixed:,} of {count(reader.reads, 'read')} mix two cycles")
    ledger.expect(wrong == 0, f"{count(wrong, 'wrong reply', 'wrong replies')}")
    for name, writer in zip(wanted, writers, strict=True):
        samples = sum(unit == writer.unit for unit, _ in stored)
        shown = len(reader.cycles.get(writer.unit, ()))
        ledger.expect(samples >= writer.cycles / 2, f"{samples} samples of {writer.cycles} cycles ({name})")
        ledger.expect(shown >= writer.cycles / 2, f"{shown} of {writer.cycles} cycles were read ({name})")
    return ledger.outcome(
        f"writers that send register by register ({', '.join(wanted)}) and lose every {LOST_EVERY}th reply",
        f"{count(cycles, 'cycle')}, {count(lost, 'lost reply', 'lost replies')}; "
        f"{count(reader.reads, 'read')} beside them",
        f"{mixed:,} of {len(stored):,} stored samples mix two cycles; {reader.mixed:,} of the reads",
    )


def _meter(name: str, unit: int) -> str:
    measurements = "".join(_CONFIG_MEASUREMENT.format(address=address) for address in range(REGISTERS))
    return _CONFIG_METER.format(name=name, unit=unit) + measurements


def _load(writers: Sequence[Writer], reader: Reader, seconds: float) -> None:
    """Write and read for so long; each writer ends after a whole cycle."""
    clients: list[Writer | Reader] = [*writers, reader]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    # A thread that ends early has lost its connection.
    wait_until(lambda: not all(thread.is_alive() for thread in threads), seconds, pause=0.1)
    for client in clients:
        client.stop.set()
    for thread in threads:
        thread.join()
