"""The program's history after a restart, a kill, a disk failure or a new configuration."""

import csv
import io
import itertools
import random
import re
import signal
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.program import Connection, Program, run
from tests.unit.wire import SAMPLE_REGISTERS, adu, answer, read, wire, write

Start = Callable[..., Program]
WRITTEN = wire("0001 0000 0006 01 10 0000 0008")
STATUS = adu(1, wire("04 0000 000d"))


class Site:
    """A folder with a configuration and a history, and the program that runs on them."""

    def __init__(self, start: Start, folder: Path) -> None:
        self._start = start
        self.folder = folder
        self.path = folder / "data" / "history.db"
        self.path.parent.mkdir()
        self.config = folder / "config.toml"
        self.runtime = folder / "run"
        self.runtime.mkdir()
        self.configure()

    def configure(self, path: Path | None = None, interval: float = 1, more: str = "") -> None:
        where = self.path if path is None else path
        self.config.write_text(f'[history]\npath = "{where}"\ncommit_interval = {interval}\n{more}')

    def start(self, **keywords: object) -> Program:
        extra = {"RUNTIME_DIRECTORY": str(self.runtime)}
        return self._start(
            "run", "--trial", "--port", "0", "--config", str(self.config), extra=extra, **keywords
        )

    def rows(self) -> list[tuple[int, ...]]:
        """Return the registers of every sample on disk, also while another process has the file open."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as database:
            found = database.execute("SELECT registers FROM samples ORDER BY id").fetchall()
        database.close()
        return [struct.unpack(">8H", registers) for (registers,) in found]


@pytest.fixture
def site(start: Start, tmp_path: Path) -> Site:
    return Site(start, tmp_path)


def state_of(program: Program) -> int:
    with program.connect() as client:
        return client.ask(STATUS)[12]


def test_after_a_restart_the_last_values_are_served_as_restored(site: Site) -> None:
    program = site.start()
    with program.connect() as client:
        client.ask(write(0))
        client.ask(write(0, (9, *SAMPLE_REGISTERS[1:])))
    assert program.stop()[0] == 0
    assert site.rows() == [SAMPLE_REGISTERS, (9, *SAMPLE_REGISTERS[1:])]
    again = site.start()
    with again.connect() as client:
        assert client.ask(read(0, 8)) == answer(1, (9, *SAMPLE_REGISTERS[1:]))
        assert state_of(again) == 3
        client.ask(write(0))
        assert state_of(again) == 1
        # The sequence number continues.
        assert client.ask(STATUS)[29:33] == struct.pack(">I", 3)
    again.wait_for(r"^\[RESTORED\] pv: the last values from before the start, \d s old$")


def test_with_a_commit_interval_of_0_every_acknowledged_write_is_on_disk(site: Site) -> None:
    site.configure(interval=0)
    program = site.start()
    with program.connect() as client:
        for number in range(20):
            assert client.ask(write(0, (number, *SAMPLE_REGISTERS[1:]))) == WRITTEN
            assert site.rows()[-1][0] == number
    program.stop(signal.SIGKILL)
    assert [row[0] for row in site.rows()] == list(range(20))


def test_pipelined_writes_and_reads_are_answered_in_order(site: Site) -> None:
    site.configure(interval=0)
    program = site.start()
    with program.connect() as client, program.connect() as opta:
        client.send((write(0) + read(0, 8)) * 50)
        # Other clients are answered meanwhile.
        assert opta.ask(read(7, 1))[7] == 3
        assert client.receive(50 * 37) == (WRITTEN + answer(1, SAMPLE_REGISTERS)) * 50
    assert len(site.rows()) == 50


def test_a_history_that_can_not_be_written_is_reported_and_modbus_keeps_answering(site: Site) -> None:
    site.configure(path=site.folder / "nowhere" / "history.db")
    program = site.start()
    with program.connect() as client:
        assert client.ask(write(0)) == WRITTEN
        assert client.ask(read(0, 8)) == answer(1, SAMPLE_REGISTERS)
        program.wait_for(r"^\[HISTORY\] .*nowhere/history\.db: ")
        (site.folder / "nowhere").mkdir()
        program.wait_for(r"^\[HISTORY\] .*: recording again; no sample was lost$")
    program.stop()
    assert "| Stored: 1 |" in program.out


def test_a_durable_write_gets_exception_04_when_it_can_not_be_stored(site: Site) -> None:
    site.configure(path=site.folder / "nowhere" / "history.db", interval=0)
    program = site.start()
    with program.connect() as client:
        assert client.ask(write(0)) == wire("0001 0000 0003 01 90 04")
        # Live values are still updated.
        assert client.ask(read(0, 8)) == answer(1, SAMPLE_REGISTERS)


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_damaged_file_is_quarantined_and_a_new_one_is_started(site: Site, content: bytes) -> None:
    site.path.write_bytes(content)
    program = site.start()
    with program.connect() as client:
        assert client.ask(write(0)) == WRITTEN
    program.stop()
    assert site.rows() == [SAMPLE_REGISTERS]
    [quarantined] = site.path.parent.glob("history.db.damaged-*")
    assert quarantined.read_bytes() == content
    assert "was renamed to" in program.out


def test_a_reload_switches_the_history_on_and_off(site: Site) -> None:
    site.config.write_text("")
    program = site.start()
    pid = str(program.process.pid)

    def reload() -> None:
        arguments = ("--config", str(site.config), "--pid", pid, "--runtime", str(site.runtime))
        assert run("reload", *arguments).returncode == 0

    with program.connect() as client:
        client.ask(write(0, (1, *SAMPLE_REGISTERS[1:])))
        site.configure()
        reload()
        client.ask(write(0, (2, *SAMPLE_REGISTERS[1:])))
        site.config.write_text("")
        reload()
        client.ask(write(0, (3, *SAMPLE_REGISTERS[1:])))
        site.configure(interval=0)
        reload()
        assert client.ask(write(0, (4, *SAMPLE_REGISTERS[1:]))) == WRITTEN
        assert [row[0] for row in site.rows()] == [2, 4]
    program.stop()
    assert "| Stored: 2 |" in program.out


def test_each_sample_is_decoded_with_the_scale_that_applied_when_it_was_stored(
    site: Site,
) -> None:
    meter = (
        '[[meters]]\nname = "pv"\nunit_id = 1\n[[meters.measurements]]\nname = "V"\naddress = 0\nscale = {}\n'
    )
    site.configure(more=meter.format(10))
    program = site.start()
    with program.connect() as client:
        client.ask(write(0, (485,)))
        site.configure(more=meter.format(100))
        pid = str(program.process.pid)
        run("reload", "--config", str(site.config), "--pid", pid, "--runtime", str(site.runtime))
        client.ask(write(0, (4900,)))
    program.stop()
    printed = run("history", "--path", str(site.path), "--format", "csv")
    assert printed.returncode == 0, printed.stderr
    assert [row["V"] for row in csv.DictReader(io.StringIO(printed.stdout))] == ["48.5", "49"]


def sample_of(number: int) -> tuple[int, ...]:
    return (number >> 16, number & 0xFFFF, *SAMPLE_REGISTERS[2:])


def write_until_it_ends(port: int, numbers: Iterator[int], acknowledged: list[int]) -> None:
    with Connection(port) as client:
        while True:
            number = next(numbers)
            try:
                if client.ask(write(0, sample_of(number))) != WRITTEN:
                    return
            except OSError:
                return
            acknowledged.append(number)


def test_a_kill_between_two_commits_loses_no_acknowledged_sample_and_stores_none_twice(site: Site) -> None:
    site.configure(interval=30, more="max_samples_per_second = 0\n")
    numbers, acknowledged = itertools.count(1), list[int]()
    chance = random.Random(11)  # noqa: S311 - moments, not secrets
    last, written_at = 0, 0.0
    for kill in range(21):
        program = site.start()
        port = program.port()
        if last:
            with program.connect() as client:
                # The last write may have been taken and not been answered.
                assert client.ask(read(0, 8)) in {answer(1, sample_of(n)) for n in (last, last + 1)}
                assert state_of(program) == 3
            program.wait_for(r"^\[RESTORED\] pv: the last values from before the start, \d+ s old$")
            [age] = re.findall(r"before the start, (\d+) s old", program.out)
            assert int(age) <= time.monotonic() - written_at + 1
        if kill == 20:
            break
        thread = threading.Thread(target=write_until_it_ends, args=(port, numbers, acknowledged))
        thread.start()
        time.sleep(chance.uniform(0.002, 0.3))
        program.stop(signal.SIGKILL)
        written_at = time.monotonic()
        thread.join()
        last = acknowledged[-1] if acknowledged else 0
    assert program.stop()[0] == 0
    rows = [high << 16 | low for high, low, *_ in site.rows()]
    assert rows == sorted(set(rows))
    assert set(acknowledged) <= set(rows)
    assert len(acknowledged) > 100
    assert not (site.runtime / "spool").exists()
