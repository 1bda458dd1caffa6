"""The program's audit trail: over refusals, restarts, kills, and failures of the disk."""

import re
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smart_meter import __version__
from smart_meter.log.audit.kinds import Kind
from smart_meter.log.audit.schema import NO_STOP
from tests.integration.program import PATIENCE, Program
from tests.unit.log.audit.bench import rows
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, wire, write

Start = Callable[..., Program]
WRITTEN = wire("0001 0000 0006 01 10 0000 0008")


class Site:
    """A folder with a configuration and an audit trail, and the program that runs on them."""

    def __init__(self, start: Start, folder: Path) -> None:
        self._start = start
        self.path = folder / "data" / "events.db"
        self.path.parent.mkdir()
        self.config = folder / "config.toml"
        self.runtime = folder / "run"
        self.runtime.mkdir()
        self.configure()

    def configure(self, path: Path | None = None, more: str = "") -> None:
        self.config.write_text(f'[events]\npath = "{path or self.path}"\n{more}')

    def start(self, *prefix: str) -> Program:
        """prefix: a program that starts it."""
        extra = {"RUNTIME_DIRECTORY": str(self.runtime)}
        program = self._start(
            "run", "--trial", "--config", str(self.config), "--port", "0", extra=extra, prefix=prefix
        )
        program.port()
        return program

    def rows(self, columns: str = "kind, text") -> list[Any]:
        try:
            return rows(self.path, columns) if self.path.exists() else []
        except sqlite3.OperationalError:
            # The program is creating it.
            return []

    def wait_for(self, kind: Kind, count: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while sum(kind.value == row[0] for row in self.rows()) < count:
            assert time.monotonic() < deadline, self.rows()
            time.sleep(0.05)


@pytest.fixture
def site(start: Start, tmp_path: Path) -> Site:
    return Site(start, tmp_path)


def test_a_restart_leaves_a_start_and_a_stop_with_its_signal(site: Site) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        assert site.start().stop(number)[0] == 0
    started, stopped = f"smart-meter {__version__} started", f"smart-meter {__version__} stopped: "
    assert site.rows() == [
        ("start", started),
        ("stop", f"{stopped}SIGTERM"),
        ("start", started),
        ("stop", f"{stopped}SIGINT"),
    ]


def test_a_kill_shows_at_the_next_start(site: Site) -> None:
    program = site.start()
    site.wait_for(Kind.START)
    program.stop(signal.SIGKILL)
    site.start().stop()
    assert [text for kind, text in site.rows() if kind == "start"][1].endswith(NO_STOP)


def test_reloads_are_there_accepted_and_refused(site: Site) -> None:
    program = site.start()
    for text in ("[server]\nport = -1\n", "[server]\nmax_connections = 7\n"):
        site.configure(more=text)
        program.process.send_signal(signal.SIGHUP)
        program.wait_for(r"^\[(NOT )?RELOADED\]", 1 if "-1" in text else 2)
    program.stop()
    details = {kind: detail for kind, detail in site.rows("kind, detail")}  # noqa: C416 - with types
    assert "server.port: -1 is out of range" in details["reload-refused"]
    assert "maps as before" in details["reload"]


def test_a_reload_switches_it_on(site: Site) -> None:
    site.config.write_text("")
    program = site.start()
    assert not site.path.exists()
    site.configure()
    program.process.send_signal(signal.SIGHUP)
    site.wait_for(Kind.START)
    program.stop()
    assert [kind for kind, _ in site.rows()] == ["start", "stop"]


def test_modbus_goes_on_while_the_folder_is_missing_and_the_events_come_later(site: Site) -> None:
    later = site.path.parent.with_name("later")
    site.path = later / "events.db"
    site.configure()
    program = site.start()
    program.wait_for(r"^\[EVENTS\] .*/later does not exist")
    with program.connect() as client:
        assert client.ask(write(0, SAMPLE_REGISTERS)) == WRITTEN
        assert client.ask(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    later.mkdir()
    site.wait_for(Kind.START)
    program.stop()
    assert [kind for kind, _ in site.rows()][-1] == "stop"
    assert len([line for line in program.out.splitlines() if "[EVENTS]" in line]) == 2


def test_a_damaged_file_is_replaced_at_start(site: Site) -> None:
    site.path.write_bytes(b"nonsense" * 1000)
    program = site.start()
    program.wait_for(r"^\[EVENTS\] .*it is not an SQLite database\. It was renamed")
    program.stop()
    assert sorted(kind for kind, _ in site.rows()) == ["quarantined", "start", "stop"]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        pytest.param("/proc/events.db", [], id="a folder that takes no files"),
        # The file of SQLite's shared memory is larger.
        pytest.param("", ["prlimit", "--fsize=16384"], id="a disk that takes no more"),
    ],
)
def test_modbus_goes_on_and_the_service_stops_although_nothing_can_be_written(
    site: Site, path: str, prefix: list[str]
) -> None:
    site.configure(Path(path) if path else None)
    program = site.start(*prefix)
    program.wait_for(r"^\[EVENTS\] ")
    with program.connect() as client:
        assert client.ask(write(0, SAMPLE_REGISTERS)) == WRITTEN
        for _ in range(1000):
            assert client.ask(write(100))[7:] == wire("90 02")
        assert client.ask(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
    code, seconds = program.stop()
    assert code == 0
    assert seconds < 3
    lines = [line for line in program.out.splitlines() if line.startswith("[EVENTS]")]
    assert len(lines) == 2
    assert re.fullmatch(r"\[EVENTS\] \d+ events could not be written and are lost", lines[1])


def test_ten_thousand_refused_writes_are_one_row(site: Site) -> None:
    program = site.start()
    site.wait_for(Kind.START)
    with program.connect() as client:
        for _ in range(100):
            client.send(write(100) * 100)
            assert len(client.receive(100 * 9)) == 900
    assert program.stop()[0] == 0
    counts = site.rows("kind, client, meter, count")
    assert counts == [
        ("start", "", "", 1),
        ("refused", "127.0.0.1", "pv", 10_000),
        ("stop", "", "", 1),
    ]
