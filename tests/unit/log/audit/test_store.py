"""The audit trail's file: what is merged, and what nobody's events push out."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from smart_meter.history.faults import DamagedError
from smart_meter.log.audit import shares, store
from smart_meter.log.audit.kinds import BY_ROOT, Kind
from smart_meter.log.audit.schema import NO_STOP
from smart_meter.log.audit.shares import CLIENTS, KEPT, NEW_ROWS, OTHERS, ROWS
from smart_meter.log.audit.store import MORE
from tests.unit.history.bench import query
from tests.unit.log.audit.bench import Bench

HOUR = 3600.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "events.db")


def test_the_file_is_of_the_program_and_of_its_version(bench: Bench) -> None:
    values = {
        name: query(bench.path, f"PRAGMA {name}")[0][0]
        for name in ("application_id", "user_version", "page_size", "auto_vacuum", "journal_mode")
    }
    assert values == {
        "application_id": 0x534D4556,
        "user_version": 1,
        "page_size": 1024,
        "auto_vacuum": 2,
        "journal_mode": "wal",
    }
    assert bench.store._value("PRAGMA synchronous") == 2


def test_ten_thousand_refusals_by_one_address_are_one_row(bench: Bench) -> None:
    for number in range(10_000):
        bench.note(
            Kind.REFUSED, f"register {number % 50}: exception 02", "192.168.1.51", "pv", f"no {number}"
        )
        bench.hands.pass_time(0.01)
        if number % 1000 == 999:
            bench.write()
    assert bench.rows() == [("refused", "192.168.1.51", "pv", "register 0: exception 02", "no 9999", 10_000)]
    [(first, last)] = bench.rows("first, last")
    assert (last - first) / 1e6 == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    "other",
    [
        (Kind.PARTIAL, "wrote 1", "192.168.1.50", "pv"),
        (Kind.REFUSED, "sent 1", "192.168.1.50", "pv"),
        (Kind.REFUSED, "wrote 1", "192.168.1.51", "pv"),
        (Kind.REFUSED, "wrote 1", "192.168.1.50", "other"),
    ],
)
def test_events_that_differ_in_more_than_numbers_have_rows_of_their_own(
    bench: Bench, other: tuple[Kind, str, str, str]
) -> None:
    bench.note(Kind.REFUSED, "wrote 1", "192.168.1.50", "pv")
    bench.note(*other)
    bench.write()
    assert len(bench.rows()) == 2


def test_a_row_is_closed_an_hour_after_its_last_event_and_a_day_after_its_first(bench: Bench) -> None:
    for _ in range(30):
        bench.add(Kind.REFUSED, client="a")
        bench.hands.pass_time(0.9 * HOUR)
    assert bench.rows("count") == [27, 3]
    bench.hands.pass_time(1.1 * HOUR)
    bench.add(Kind.REFUSED, client="a")
    assert bench.rows("count") == [27, 3, 1]


def test_starts_stops_and_events_of_root_are_never_merged(bench: Bench) -> None:
    for _ in range(2):
        bench.note(Kind.RELEASE, "0.8.0 was replaced by 0.9.0")
        bench.note(Kind.STOP, "SIGTERM")
    bench.write()
    assert bench.rows("count") == [1, 1, 1, 1]


def test_a_start_without_a_stop_before_it_is_named(bench: Bench) -> None:
    for kind in (Kind.START, Kind.REFUSED, Kind.START, Kind.STOP, Kind.START):
        bench.add(kind, kind.value)
    texts = [text for text in bench.rows("text") if text.startswith("start")]
    assert texts == ["start", f"start; {NO_STOP}", "start"]


def test_a_client_has_fifty_new_rows_an_hour_and_one_for_all_others(bench: Bench) -> None:
    for number in range(500):
        bench.add(Kind.REFUSED, f"sent {'x' * number}", "a")
    assert bench.count(Kind.REFUSED, "a") == NEW_ROWS + 1
    assert bench.rows("text, count")[-1] == (MORE, 500 - NEW_ROWS)
    bench.hands.pass_time(1.1 * HOUR)
    bench.add(Kind.REFUSED, "sent y", "a")
    assert bench.rows("text, count")[-1] == ("sent y", 1)


def test_a_crash_loop_has_fifty_new_rows_an_hour_over_restarts(bench: Bench) -> None:
    for _ in range(NEW_ROWS + 10):
        bench.add(Kind.START, "started")
        bench.store.close()
        bench.open()
        bench.hands.pass_time(2)
    # Each run begins a row for the rest, which a later run can't extend: at most one per run.
    assert bench.rows("text").count(MORE) <= 10
    assert bench.rows("text").count("started") <= NEW_ROWS


def test_a_client_has_two_hundred_rows_of_a_kind(bench: Bench) -> None:
    for number in range(ROWS + 50):
        bench.add(Kind.REFUSED, f"sent {'x' * (number % 250)}", "a")
        bench.hands.pass_time(HOUR)
    assert bench.count(Kind.REFUSED, "a") == ROWS
    assert bench.rows("text")[0] == f"sent {'x' * 50}"


def test_a_host_with_many_addresses_gets_one_share_for_most_of_them(bench: Bench) -> None:
    bench.add(Kind.REFUSED, "the ESP32's", "192.168.1.50")
    for number in range(1000):
        bench.add(Kind.REFUSED, "sent 1", f"10.0.{number // 250}.{number % 250}")
    clients = bench.rows("client")
    assert clients[0] == "192.168.1.50"
    assert len(set(clients) - {OTHERS}) == CLIENTS
    [(count, detail)] = query(bench.path, "SELECT count, detail FROM events WHERE client = '*'")
    assert (count, detail) == (1001 - CLIENTS, "10.0.3.249")


def test_a_full_file_loses_the_rows_of_who_takes_most(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "ROWS", 100_000)
    monkeypatch.setattr(shares, "NEW_ROWS", 100_000)
    small = Bench(bench.path.with_name("small.db"), max_size_mib=1)
    for kind in Kind:
        for number in range(5):
            small.add(kind, "x" * (number + 1), "a")
    before = {row[0]: row for row in small.rows("id, kind, client, text")}
    for number in range(3000):
        small.add(Kind.REFUSED, f"{number * 7 % 26:c}" * 3 + "y" * (number % 280), f"b{number % 3}")
        small.hands.pass_time(100)
    after = {row[0]: row for row in small.rows("id, kind, client, text")}
    assert {key for key in before if key not in after} <= {
        k for k, row in before.items() if row[1] == "refused"
    }
    small.store.close()
    assert small.path.stat().st_size <= 2**20
    assert small.store.deleted_young > 0


@pytest.mark.parametrize("seed", range(5))
def test_no_crowd_of_clients_and_kinds_pushes_out_anybody_elses_rows(tmp_path: Path, seed: int) -> None:
    """Any mix of events by an attacker, while others' few events go on: none of theirs is lost."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable test
    bench = Bench(tmp_path / "events.db", max_size_mib=chance.choice([1, 2, 64]))
    genuine: list[tuple[str, str, str]] = []
    attacks = [Kind.REFUSED, Kind.PARTIAL, Kind.WRITER, Kind.TWO_WRITERS, Kind.THINNED]
    for turn in range(150):
        kind = chance.choice(list(Kind))
        client = "" if kind.value in KEPT else chance.choice(["192.168.1.50", "192.168.2.10"])
        if turn < 2 * len(Kind):
            # The shares of the genuine clients exist before the attack; a later one may find all taken.
            kind, client = list(Kind)[turn // 2], ("192.168.1.50", "192.168.2.10")[turn % 2]
        text = "genuine " + "abcdefghij"[turn % 10] * (turn // 10 + 1)
        genuine.append((kind.value, client, text))
        bench.note(kind, text, client)
        bench.write()
        for _ in range(chance.randrange(80) if turn >= 2 * len(Kind) else 0):
            address = f"10.0.0.{chance.randrange(200)}"
            bench.note(chance.choice(attacks), "z" * chance.randrange(250), address, "pv", "d" * 250)
        bench.write()
        bench.hands.pass_time(chance.choice([0.1, 60, 4000]))
    kept = {(*names, text.removesuffix(f"; {NO_STOP}")) for *names, text in bench.rows("kind, client, text")}
    lost = [event for event in genuine if event not in kept]
    assert lost == []
    for (kind_, client_), count in _counts(bench).items():
        assert count <= (2000 if kind_ in KEPT else ROWS), (kind_, client_)


def _counts(bench: Bench) -> dict[tuple[str, str], int]:
    found = query(bench.path, "SELECT kind, client, count(*) FROM events GROUP BY 1, 2")
    return {(kind, client): count for kind, client, count in found}


def test_starts_and_what_root_added_are_never_deleted_for_another_kinds_sake(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "events.db", max_size_mib=1)
    kept = [Kind.START, Kind.STOP, *BY_ROOT]
    others = [kind for kind in Kind if kind not in kept]
    for number in range(80):
        for kind in kept:
            bench.note(kind, f"event {number}", detail="d" * 300)
        bench.write()
        bench.hands.pass_time(100)
    # They take more than an equal part of the file now.
    for number in range(250):
        for kind in others:
            bench.note(kind, "x" * (number % 250), f"c{number % 30}", detail="d" * 300)
        bench.write()
        bench.hands.pass_time(1000)
    assert bench.store.deleted_young > 500
    assert [bench.count(kind) for kind in kept] == [80] * len(kept)
    bench.store.close()
    assert bench.path.stat().st_size <= 2**20


def test_a_kept_kind_loses_its_own_oldest_rows_for_newer_ones(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "events.db", max_size_mib=1)
    for number in range(300):
        bench.add(Kind.START, f"start {number}", detail="d" * 300)
        bench.hands.pass_time(100)
    texts = bench.rows("text")
    assert 50 < len(texts) < 150
    assert texts[-1].startswith("start 299")


def test_old_events_are_deleted_by_running_time_whatever_the_wall_clock_shows(bench: Bench) -> None:
    bench.add(Kind.START, "first")
    bench.hands.wall += 20 * 365 * 86400
    bench.add(Kind.CLOCK, "the clock was set")
    bench.store.expire()
    assert len(bench.rows()) == 2
    bench.hands.pass_time(399 * 86400)
    bench.add(Kind.REFUSED, "sent 1")
    bench.hands.pass_time(2 * 86400)
    bench.store.expire()
    assert bench.rows("kind") == ["refused"]


def test_running_time_goes_on_over_a_reboot(bench: Bench) -> None:
    bench.add(Kind.START, "first")
    bench.hands.pass_time(1000)
    bench.add(Kind.STOP, "power")
    bench.store.close()
    bench.hands.reboot("b", off=3600)
    bench.open()
    bench.add(Kind.START, "second")
    first, stop, second = (running / 1e6 for running in bench.rows("running"))
    assert stop - first == pytest.approx(1000)
    assert second - stop == pytest.approx(3600)


def test_texts_are_short_and_without_control_characters(bench: Bench) -> None:
    bench.add(Kind.REFUSED, "a\x1b[2J\n\u202e\ud800" + "é" * 400, "c\r", meter="m\0", detail="d" * 9000)
    [(_, client, meter, text, detail, _)] = bench.rows()
    assert text.startswith("a\\x1b[2J\\n\\u202e\\ud800é")
    assert text.endswith("…")
    assert (client, meter) == ("c\\r", "m\\x00")
    assert (len(text.encode()) <= 300, len(detail.encode()) <= 600) == (True, True)


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"x" * 5000)


def _of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (id)")


def _of_a_later_version(path: Path) -> None:
    Bench(path).store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")


def _without_a_column(path: Path) -> None:
    Bench(path).store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE events DROP COLUMN detail")


def _cut_off(path: Path) -> None:
    bench = Bench(path)
    for number in range(100):
        bench.add(Kind.REFUSED, "x" * number, f"c{number}")
    bench.store.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage", [_not_a_database, _of_another_program, _of_a_later_version, _without_a_column, _cut_off]
)
def test_a_file_that_can_not_be_used_is_recognised(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "events.db"
    damage(path)
    with pytest.raises((DamagedError, sqlite3.DatabaseError)):
        Bench(path)


def test_a_batch_is_all_or_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.note(Kind.REFUSED, "one")
    bench.note(Kind.STALE, "two")
    monkeypatch.setattr(store, "_INSERT", store._INSERT + " nonsense")
    with pytest.raises(sqlite3.Error):
        bench.write()
    bench.store.close()
    assert bench.rows() == []
