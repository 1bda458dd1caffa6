"""Field addresses flood a meter: the genuine client's rows of the last day stay, and the flood is reported.

The 2,000 rows are written by the service itself, at full speed; SQL then moves them apart, over the last day.
First the history has its default budget for each address: the flood is thinned. Then it has none: the file
fills up, and the flood's new rows replace its own old ones.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.integration.networks import LINKS, PI, Networks
from tests.integration.program import COMMAND, Connection, Program, environment
from tests.unit.wire import adu, read

from soak import trail
from soak.flood_clients import LONGER, Totals
from soak.flood_files import delete_rows, find, read_rows, spread
from soak.flood_frames import QUANTITY, REPLY, VALUES, counter_of, request
from soak.flood_result import Phase, Reads, judge, read_report
from soak.machine import SoakError, ending, work_folder
from soak.places import CONTROL, FIELD, networks
from soak.report import Outcome

ROWS = 2000
MAX_SIZE_MIB = 16
_PORT = 502
_PI = {zone: LINKS[zone][1].partition("/")[0] for zone in (FIELD, CONTROL)}
_GENUINE = LINKS[FIELD][2].partition("/")[0]
_FLOODERS = tuple(f"192.168.1.{number}" for number in range(210, 216))
_WRITE_EVERY = 0.5
_READ_EVERY = 0.1
_BATCH = 100
_LEAST = 400_000
"""Samples of a flood, whatever time they take: with no budget, fewer would fit in the file."""
_REMOVED = 10
"""Rows that the control deletes by hand."""
_STATUS = adu(1, b"\x04\x00\x00\x00\x1a")
_ROOT = Path(__file__).parents[1]
_CONFIG = """
[journal]
statistics_interval = 1
[history]
path = "{path}"
max_size_mib = {size}
{budget}
[[meters]]
name = "pv"
unit_id = 1
"""
_MEASUREMENT = """
[[meters.measurements]]
name = "v{number}"
address = {address}
type = "uint32"
"""
_NO_BUDGET = "max_samples_per_second = 0"


class Writer(threading.Thread):
    """The genuine client: it writes a sample every half second."""

    def __init__(self, connection: Connection, first: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: set[int] = set()
        self.wrong = 0
        self.stopping = threading.Event()
        self._connection = connection
        self._counter = first

    def run(self) -> None:
        """Write until stopped, or until the connection ends."""
        with self._connection as connection:
            while not self.stopping.wait(_WRITE_EVERY):
                if _ask(connection, request(self._counter)) == REPLY:
                    self.acknowledged.add(self._counter)
                else:
                    self.wrong += 1
                self._counter += 1


class Reader(threading.Thread):
    """The Opta: it reads the meter ten times a second."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(daemon=True)
        self.reads = Reads()
        self.stopping = threading.Event()
        self._connection = connection

    def run(self) -> None:
        """Read until stopped."""
        with self._connection as connection:
            while not self.stopping.wait(_READ_EVERY):
                began = time.monotonic()
                reply = _ask(connection, read(0, QUANTITY))
                self.reads.slowest = max(self.reads.slowest, time.monotonic() - began)
                self.reads.number += 1
                self.reads.wrong += counter_of(reply[9:]) is None


def _ask(connection: Connection, question: bytes) -> bytes:
    """Return the reply; empty if there is none."""
    try:
        return connection.ask(question)
    except OSError:
        return b""


def run(seconds: float, log: Callable[[str], None]) -> Outcome:
    """Flood for `seconds` with the default budget, and as long without one."""
    with work_folder("flood") as folder, networks() as places:
        places.add_addresses(FIELD, [f"{source}/24" for source in _FLOODERS])
        prepared = folder / "prepared.db"
        log(f"{ROWS:,} rows of the last day")
        _prepare(prepared, places)
        phases = []
        for name, budget in (("the default budget", ""), ("no budget", _NO_BUDGET)):
            log(f"a flood with {name}")
            copy = folder / name.replace(" ", "-")
            copy.mkdir()
            database = copy / "history.db"
            shutil.copy(prepared, database)
            phases.append(_flood(name, database, budget, seconds, places))
        delete_rows(database, _REMOVED)
        control = find(read_rows(database), range(1, ROWS + 1), _GENUINE).missing
    return judge(*phases, control=(control, _REMOVED), genuine=_GENUINE, size_mib=MAX_SIZE_MIB)


@contextmanager
def _running(database: Path, budget: str, places: Networks) -> Iterator[Program]:
    """Run the service with a history. budget: a line of its section, or empty."""
    config = database.with_name("config.toml")
    measurements = (_MEASUREMENT.format(number=number, address=2 * number) for number in range(VALUES))
    text = _CONFIG.format(path=database, size=MAX_SIZE_MIB, budget=budget) + "".join(measurements)
    config.write_text(text + trail.configuration(database))
    program = Program(("run", "--config", str(config)), database.parent, prefix=places.within(PI))
    with ending(program):
        program.wait_for("^Waiting for:$")
        yield program


def _connect(places: Networks, zone: str) -> Connection:
    with places.inside(zone):
        return Connection(_PORT, _PI[zone], _GENUINE if zone == FIELD else None)


def _prepare(path: Path, places: Networks) -> None:
    """Let the service store the genuine rows, and move them apart."""
    with _running(path, _NO_BUDGET, places) as program:
        with _connect(places, FIELD) as connection:
            for first in range(1, ROWS + 1, _BATCH):
                connection.send(b"".join(map(request, range(first, first + _BATCH))))
                if connection.receive(len(REPLY) * _BATCH) != REPLY * _BATCH:
                    raise SoakError("a genuine sample was not acknowledged")
        if program.stop()[0] != 0:
            raise SoakError("the program did not stop properly")
    spread(path)
    command = [*COMMAND, "history", "--path", str(path), "--since", "1d", "--format", "csv"]
    shown = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    found = len(shown.stdout.splitlines()) - 1
    if found != ROWS:
        raise SoakError(f"smart-meter history shows {found} rows of the last day: {shown.stderr[-300:]}")


def _flood(name: str, path: Path, budget: str, seconds: float, places: Networks) -> Phase:
    began = time.monotonic()
    with ExitStack() as stack:
        program = stack.enter_context(_running(path, budget, places))
        # The flood is there first: it must not take the genuine client's budget either.
        flood = stack.enter_context(_flooding(seconds, places))
        writer, reader = Writer(_connect(places, FIELD), ROWS + 1), Reader(_connect(places, CONTROL))
        for thread in (writer, reader):
            thread.start()
        totals = _totals(flood, seconds)
        for thread in (writer, reader):
            thread.stopping.set()
            thread.join()
        with _connect(places, CONTROL) as connection:
            status = connection.ask(_STATUS)[9:]
        file_bytes = sum(file.stat().st_size for file in path.parent.glob("history.db*"))
        stopped = program.stop()[0] == 0
    rows = read_rows(path)
    return Phase(
        name=name,
        seconds=seconds,
        lifetime=time.monotonic() - began,
        flood=totals,
        reads=reader.reads,
        not_acknowledged=writer.wrong,
        rows=len(rows),
        before=find(rows, range(1, ROWS + 1), _GENUINE),
        during=find(rows, writer.acknowledged, _GENUINE),
        report=read_report(program.out, status, trail.read(path), _FLOODERS),
        file_bytes=file_bytes,
        stopped=stopped,
    )


@contextmanager
def _flooding(seconds: float, places: Networks) -> Iterator[subprocess.Popen[str]]:
    """Start the flood; kill it at the end of the block, if it is still running."""
    command: Sequence[str] = (
        *(*places.within(FIELD), sys.executable, "-m", "soak.flood_clients", _PI[FIELD], str(_PORT)),
        *("--seconds", str(seconds), "--samples", str(_LEAST), "--sources", *_FLOODERS),
    )
    with subprocess.Popen(
        command, cwd=_ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _totals(flood: subprocess.Popen[str], seconds: float) -> Totals:
    out, err = flood.communicate(timeout=seconds + 2 * LONGER)
    if flood.returncode != 0:
        raise SoakError(f"the flood: {err.strip()[-300:]}")
    return Totals(**json.loads(out))
