"""Files of the first release: extended at the first start, and still its own after a rollback."""

from collections.abc import Callable
from pathlib import Path

from smart_meter.concentrator.sink import client_number
from smart_meter.history.reader import Reader
from smart_meter.registers.register_map import Measurement, RegisterMap
from tests.unit.history.bench import Bench, Hands, meter, query, registers
from tests.unit.history.version_1 import FirstRelease

Make = Callable[..., Bench]
M = meter("m")
ESP32 = client_number("192.168.1.50")
COLUMNS = "SELECT name FROM pragma_table_info('samples')"


def samples(first: int, end: int) -> list[bytes]:
    return [registers(number) for number in range(first, end)]


def damaged(path: Path) -> list[Path]:
    return list(path.parent.glob("*damaged*"))


def test_an_upgrade_a_rollback_and_an_upgrade_lose_no_row_and_quarantine_nothing(bench: Make) -> None:
    one = bench(hands=Hands())
    release = FirstRelease(one.path)
    release.create()
    release.record(M, samples(0, 5000))
    release.keep_last()

    one.open([M])
    assert one.restored["m"].registers == registers(4999)
    one.stored("m", registers(5000), client=ESP32)
    assert one.stop()
    assert release.accepts()
    assert release.rows() == samples(0, 5001)

    release.record(M, samples(5001, 5003), boot="b")
    release.keep_last()
    release.delete(before=11)
    assert release.rows() == samples(10, 5003)

    one.open([M])
    assert one.restored["m"].registers == registers(5002)
    one.stored("m", registers(5003), client=ESP32)
    assert one.stop()

    assert one.rows() == samples(10, 5004)
    assert damaged(one.path) == []
    assert one.logged == []
    assert one.rows("id, client")[-4:] == [(5001, ESP32), (5002, None), (5003, None), (5004, ESP32)]
    assert len(query(one.path, "SELECT * FROM generations")) == 1


def test_a_new_file_has_the_tables_of_an_extended_one(bench: Make, tmp_path: Path) -> None:
    files = []
    for name in ("new.db", "old.db"):
        one = bench(tmp_path / name, hands=Hands())
        if name == "old.db":
            FirstRelease(one.path).create()
        one.open([M])
        one.stored("m", registers(1))
        assert one.stop()
        files.append(query(one.path, "SELECT type, name, sql FROM sqlite_master ORDER BY name"))
        [(first, generation)] = query(one.path, "SELECT * FROM generations")
        assert first == 0
        assert 0 < generation < 2**32
    assert files[0] == files[1]


def test_the_start_only_reads_and_the_writer_extends(bench: Make) -> None:
    one = bench(hands=Hands())
    release = FirstRelease(one.path)
    release.create()
    release.record(M, samples(0, 3))
    history = one.history = one.make([M])
    # The writer's thread is not started yet: clients wait for what is done here.
    found = history._writer.open()
    assert found["m"].registers == registers(2)
    assert ("client",) not in query(one.path, COLUMNS)
    history._writer.start()
    one.stored("m", registers(3))
    assert ("client",) in query(one.path, COLUMNS)


def test_an_extension_that_is_cut_off_leaves_the_file_as_it_was(bench: Make) -> None:
    one = bench(hands=Hands())
    release = FirstRelease(one.path)
    release.create()
    release.record(M, samples(0, 3))
    before = query(one.path, "SELECT * FROM sqlite_master ORDER BY name")
    writer = one.make([M])._writer
    writer.open()
    database = writer.database
    assert database is not None
    database._connection.execute("BEGIN IMMEDIATE")
    database._extend()
    database.close()
    assert query(one.path, "SELECT * FROM sqlite_master ORDER BY name") == before


def test_a_copy_of_a_file_that_was_never_extended_can_be_read(tmp_path: Path) -> None:
    release = FirstRelease(tmp_path / "copy.db")
    release.create()
    release.record(M, samples(0, 3))
    reader = Reader(str(tmp_path / "copy.db"))
    found = [(row.id, row.values, row.client) for row in reader.rows(reader.select(None, None))]
    reader.close()
    assert found == [(1, {"P": 0}, None), (2, {"P": 1}, None), (3, {"P": 2}, None)]


def test_each_row_has_its_client(bench: Make) -> None:
    one = bench(hands=Hands())
    one.open([M])
    for address in ("192.168.1.50", "10.0.0.1", ""):
        one.stored("m", registers(1), client=client_number(address))
    clients = ["192.168.1.50", "10.0.0.1", None]
    assert query(one.path, "SELECT client FROM arrivals ORDER BY id") == [(client,) for client in clients]
    reader = Reader(str(one.path))
    assert [row.client for row in reader.rows(reader.select(None, None))] == clients
    reader.close()


def test_a_map_with_gaps_outlives_a_rollback(bench: Make) -> None:
    far = M._replace(map=RegisterMap((Measurement("a", 40083), Measurement("b", 40183, scale=10))))
    span = b"\0\7" + bytes(198) + b"\1\xe5"
    later = b"\0\10" + bytes(198) + b"\1\xe6"
    one = bench(hands=Hands())
    release = FirstRelease(one.path)
    release.create()
    release.record(far, [span])

    one.open([far])
    assert one.restored["m"].registers == span
    one.stored("m", later)
    assert one.stop()
    assert one.rows() == [span, b"\0\10\1\xe6"]
    values = [{"a": 7, "b": 48.5}, {"a": 8, "b": 48.6}]
    assert release.decoded("m") == values

    release.record(far, [span])
    assert release.decoded("m") == [*values, values[0]]
    one.open([far])
    assert one.restored["m"].registers == span
    one.stored("m", later)
    assert one.stop()
    one.open([far])
    assert one.restored["m"].registers == later
    reader = Reader(str(one.path))
    found = [(row.values, row.meter.map) for row in reader.rows(reader.select(None, None))]
    reader.close()
    assert found == [(value, far.map) for value in (*values, *values)]
