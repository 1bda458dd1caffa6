"""From samples to rows."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest

from smart_meter.history.sample_queue import EARLY
from tests.unit.history.bench import PV, YEAR, Bench, Hands, meter, query, registers

Make = Callable[..., Bench]


def test_a_sample_is_a_row_once_its_ticket_is_stored(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open()
    assert history.stored_up_to(1) is None
    assert one.stored("pv", b"\x01\x02" * 8, measured=1_451_628_000, flags=1) == 1
    assert one.rows("registers, measured, flags") == [(b"\x01\x02" * 8, 1_451_628_000, 1)]
    assert (history.done, history.stored, history.lost, history.failing) == (1, 1, 0, False)
    assert one.logged == []


def test_tickets_are_numbered_from_1_across_all_meters(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open([meter("a", 1), meter("b", 2)])
    assert [one.record(name, registers(0)) for name in "abba"] == [1, 2, 3, 4]
    assert one.stop()
    assert query(
        one.path, "SELECT name FROM samples JOIN meters ON meters.id = meter ORDER BY samples.id"
    ) == [
        ("a",),
        ("b",),
        ("b",),
        ("a",),
    ]


def test_waiting_samples_are_committed_together_once_per_interval(bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands, commit_interval=60)
    history = one.open()
    for number in range(1000):
        one.record("pv", registers(number))
    assert history.stored_up_to(1) is None
    hands.pass_time(61)
    one.wait(lambda: history.done == 1000)
    assert one.commits == 1
    assert one.rows() == [registers(number) for number in range(1000)]


def test_a_burst_does_not_wait_for_the_interval(bench: Make) -> None:
    one = bench(hands=Hands(), commit_interval=3600)
    history = one.open()
    for number in range(EARLY):
        one.record("pv", registers(number))
    one.wait(lambda: history.done == EARLY)
    assert one.rows() == [registers(number) for number in range(EARLY)]


def test_samples_that_arrive_during_a_commit_wait_for_the_next(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open()
    for number in range(50_000):
        one.record("pv", registers(number))
    one.wait(lambda: history.done == 50_000)
    assert one.rows() == [registers(number) for number in range(50_000)]
    assert one.commits < 5000


def test_stop_writes_waiting_samples_and_leaves_one_file(bench: Make) -> None:
    one = bench(hands=Hands(), commit_interval=3600)
    history = one.open()
    ticket = one.record("pv", registers(7))
    assert one.stop()
    assert history.stored_up_to(ticket) is True
    assert [path.name for path in one.path.parent.iterdir()] == ["history.db"]
    assert one.rows() == [registers(7)]


def test_a_history_that_was_never_opened_can_be_stopped(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open()
    assert one.stop()
    assert one.stop()


def test_after_the_stop_nothing_is_recorded(bench: Make) -> None:
    one = bench(hands=Hands())
    history = one.open()
    one.stop()
    assert one.record("pv", registers(1)) == 0
    assert history.stored_up_to(0) is True


def test_the_last_sample_of_each_meter_is_restored(bench: Make) -> None:
    hands = Hands()
    meters = [meter(name, number) for number, name in enumerate(("silent", "busy", "new"), 1)]
    one = bench(hands=hands)
    one.open(meters)
    one.stored("silent", registers(1), measured=5, flags=1)
    hands.pass_time(7200)
    for number in range(6000):
        one.record("busy", registers(number))
    one.stop()
    hands.pass_time(30)
    one.open(meters)
    assert one.restored.keys() == {"silent", "busy"}
    silent, busy = one.restored["silent"], one.restored["busy"]
    assert (silent.registers, silent.measured, silent.flags, silent.age, silent.sequence) == (
        registers(1),
        5,
        1,
        7230,
        1,
    )
    assert (busy.registers, busy.age, busy.sequence) == (registers(5999), 30, 6001)


def test_a_start_reads_few_rows_for_a_meter_that_has_been_silent_for_long(bench: Make) -> None:
    one = bench(hands=Hands())
    meters = [meter("silent", 1), meter("busy", 2)]
    history = one.open(meters)
    one.record("silent", registers(1))
    for number in range(30_000):
        one.record("busy", registers(number))
        if number % 1000 == 0:
            one.wait(lambda: history.done == history._recorded)
    one.stop()
    [(scanned,)] = query(one.path, "SELECT max(id) FROM samples WHERE id > (SELECT max(id) FROM last)")
    [(until,)] = query(one.path, "SELECT max(id) FROM last")
    assert scanned is None or scanned - until < 6000
    one.open(meters)
    assert one.restored["silent"].registers == registers(1)


def test_the_age_is_unknown_after_a_reboot(bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands)
    one.open()
    one.stored("pv", b"\x01\x02" * 8)
    one.stop()
    hands.reboot("b", off=60)
    one.open()
    assert one.restored["pv"].age is None
    assert one.restored["pv"].registers == b"\x01\x02" * 8


def test_registers_with_another_meaning_are_not_restored(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open([meter("m", scale=1)])
    one.stored("m", registers(5))
    one.stop()
    one.open([meter("m", scale=10)])
    assert one.restored == {}
    one.stop()
    one.open([meter("m", scale=1)])
    assert one.restored["m"].registers == registers(5)


def test_each_row_refers_to_the_map_it_was_recorded_with(bench: Make) -> None:
    one = bench(hands=Hands())
    for changed in (meter("m", scale=1), meter("m", scale=10), meter("m", scale=10), meter("m", scale=1)):
        one.open([changed])
        one.stored("m", registers(5))
        one.stop()
    found = query(
        one.path,
        "SELECT meters.id, json_extract(definition, '$[0].scale') FROM samples "
        "JOIN meters ON meters.id = meter JOIN maps ON maps.id = map ORDER BY samples.id",
    )
    assert found == [(1, 1), (2, 10), (2, 10), (3, 1)]
    assert query(one.path, "SELECT first FROM meters ORDER BY id") == [(1,), (2,), (4,)]


def test_a_changed_map_applies_from_the_next_sample_on(bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands, commit_interval=60)
    history = one.open([meter("m", scale=1)])
    one.record("m", registers(1))
    history.reconfigure(one.config, [meter("m", scale=10), meter("added", 2)])
    one.record("m", registers(2))
    one.record("added", registers(3))
    assert one.stop()
    scales = query(
        one.path,
        "SELECT name, json_extract(definition, '$[0].scale') FROM samples "
        "JOIN meters ON meters.id = meter JOIN maps ON maps.id = map ORDER BY samples.id",
    )
    assert scales == [("m", 1), ("m", 10), ("added", 1)]


def test_a_changed_path_is_used_for_new_samples(bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands, commit_interval=60)
    history = one.open()
    one.record("pv", registers(1))
    second = one.path.with_name("second.db")
    one.reconfigure(path=str(second), commit_interval=0)
    history.reconfigure(one.config, [PV])
    one.wait(lambda: history.done == 1)
    one.stored("pv", registers(2))
    assert one.rows() == [registers(1)]
    assert one.rows(path=second) == [registers(2)]
    assert not one.path.with_name("history.db-wal").exists()


def test_the_history_can_be_switched_off_and_on(bench: Make) -> None:
    one = bench(hands=Hands(), commit_interval=3600)
    history = one.open()
    one.record("pv", registers(1))
    path = one.config.path
    one.reconfigure(path="")
    history.reconfigure(one.config, [PV])
    assert one.record("pv", registers(2)) == 0
    one.wait(lambda: history.done == 1)
    one.reconfigure(path=path, commit_interval=0)
    history.reconfigure(one.config, [PV])
    one.stored("pv", registers(3))
    assert one.rows() == [registers(1), registers(3)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_a_clock_that_jumps_loses_reorders_and_expires_nothing(jump: float, bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands, max_age_days=2)
    one.open()
    walls = []
    for number in range(6):
        walls.append(hands.wall)
        one.stored("pv", registers(number))
        hands.pass_time(3600)
        if number in (1, 3):
            hands.wall += jump if number == 1 else -jump
            steps = one.history._writer._batches.steps
            one.wait(lambda steps=steps: one.history._writer._batches.steps > steps)  # type: ignore[misc]  # mypy can't infer a default
    rows = query(one.path, "SELECT arrived, registers FROM arrivals ORDER BY id")
    assert [row[1] for row in rows] == [registers(number).hex().upper() for number in range(6)]
    assert [row[0] for row in rows] == pytest.approx(walls, abs=0.001)
    running = one.rows("running")
    assert [later - before for before, later in pairwise(running)] == [3600_000_000] * 5


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_a_clock_that_jumps_over_reboots_loses_reorders_and_expires_nothing(jump: float, bench: Make) -> None:
    hands = Hands()
    one = bench(hands=hands, max_age_days=20)
    walls = []
    for number in range(4):
        one.open()
        walls.append(hands.wall)
        one.stored("pv", registers(number))
        one.stop()
        hands.reboot(f"boot {number}", off=60, jump=jump if number % 2 == 0 else -jump)
    assert one.rows() == [registers(number) for number in range(4)]
    assert one.rows("running") == sorted(one.rows("running"))
    rows = query(one.path, "SELECT arrived FROM arrivals ORDER BY id")
    assert [row[0] for row in rows] == pytest.approx(walls, abs=0.001)


def test_sqlite_is_not_loaded_before_there_is_a_history() -> None:
    code = "import sys, smart_meter.history; sys.exit('sqlite3' in sys.modules or '_sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
