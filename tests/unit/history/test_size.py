"""What counts against max_size_mib besides rows: quarantined files, and a WAL that another program needs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smart_meter.history.quarantine import prune
from smart_meter.history.sample_queue import EARLY
from smart_meter.history.writer import SIZE_SECONDS
from tests.unit.history.bench import Bench, Hands, meter, registers

Make = Callable[..., Bench]
M = meter("m")
MIB = 2**20
READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
print(connection.execute("SELECT count(*) FROM samples").fetchone()[0], flush=True)
sys.stdin.read()
"""


def damaged(folder: Path, stamp: str, size: int) -> Path:
    path = folder / f"history.db.damaged-{stamp}"
    path.write_bytes(bytes(size))
    return path


def test_the_oldest_quarantined_files_are_deleted_first_and_the_newest_never(tmp_path: Path) -> None:
    first = damaged(tmp_path, "20200101T000000", 100)
    wal = damaged(tmp_path, "20200101T000000-wal", 50)
    second = damaged(tmp_path, "20200101T000000-2", 100)
    third = damaged(tmp_path, "20210101T000000", 100)
    others = [tmp_path / "history.db", tmp_path / "history.db.damaged-by-hand", tmp_path / "other.db"]
    for other in others:
        other.write_bytes(bytes(1000))
    path = str(tmp_path / "history.db")
    assert prune(path, 350) == (350, [])
    assert prune(path, 349) == (200, [first.name])
    assert not wal.exists()
    assert prune(path, 0) == (100, [second.name])
    assert prune(path, 0) == (100, [])
    assert third.exists()
    assert all(other.exists() for other in others)


@pytest.mark.usefixtures("impatient")
def test_quarantined_files_leave_less_room_for_rows(bench: Make, tmp_path: Path) -> None:
    sizes = []
    for name, others in (("a", 0), ("b", MIB // 2)):
        folder = tmp_path / name
        folder.mkdir()
        damaged(folder, "20200101T000000", others)
        one = bench(folder / "history.db", hands=Hands(), max_size_mib=1)
        history = one.open([M])
        one.stored("m", registers(0))
        assert one.hands
        one.hands.pass_time(SIZE_SECONDS + 1)
        one.wait(lambda history=history, others=others: history._writer.database.elsewhere == others)  # type: ignore[misc]  # mypy can't infer a default
        for number in range(3 * EARLY):
            one.record("m", registers(number))
        one.wait(lambda history=history: history.done == history._recorded)  # type: ignore[misc]  # as above
        assert one.stop()
        sizes.append(one.path.stat().st_size)
    assert sizes[1] < sizes[0] - 0.4 * MIB


@pytest.mark.usefixtures("impatient")
def test_a_line_names_a_program_that_keeps_the_wal_from_being_emptied(bench: Make) -> None:
    one = bench(hands=Hands(), max_size_mib=1)
    history = one.open([M])
    one.stored("m", registers(0))
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(one.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == "1\n"
        for number in range(2 * EARLY):
            one.record("m", registers(number))
        one.wait(lambda: history.done == history._recorded)
        assert one.hands
        for _ in range(2):
            before = history._writer._size_at
            one.hands.pass_time(SIZE_SECONDS + 1)
            one.wait(lambda before=before: history._writer._size_at > before)  # type: ignore[misc]  # mypy can't infer a default
        line = one.wait_for_word("keeps reading")
        assert line.startswith(f"[HISTORY] process {reader.pid} (python")
        assert f") keeps reading {one.path}: the WAL has grown to " in line
        assert line.endswith(" MiB, beyond max_size_mib; end that program, or its transaction")
        # The service's own locks are still in place.
        one.stored("m", registers(1))
        reader.communicate("")
    for number in range(3):
        one.stored("m", registers(number))
    one.hands.pass_time(SIZE_SECONDS + 1)
    one.wait(lambda: not history._writer._wal_was_large)
    assert one.stop()
    assert len([line for line in one.logged if "keeps reading" in line]) == 1
