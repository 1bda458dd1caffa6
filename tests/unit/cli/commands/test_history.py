"""`smart-meter history`: the recorded samples as a table, as CSV and as JSON."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smart_meter.cli.commands import history as command
from smart_meter.cli.main import main
from smart_meter.concentrator.sink import client_number
from smart_meter.config import MeterConfig
from smart_meter.history.read_only import ReadOnlyFile
from smart_meter.history.reader import WINDOW, Reader
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from tests.unit.history.bench import PV, TIMEOUT, YEAR, Bench, Hands, change, meter, query, registers
from tests.unit.wire import SAMPLE_REGISTERS

SAMPLE = b"".join(register.to_bytes(2) for register in SAMPLE_REGISTERS)
Run = Callable[..., str]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path / "history.db", Hands())
    yield one
    if hasattr(one, "history"):
        one.history.stop(TIMEOUT)


@pytest.fixture
def run(bench: Bench, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["history", "--path", str(bench.path), *arguments]) == code
        printed = capsys.readouterr()
        assert bool(printed.err) is bool(code)
        return printed.err if code else printed.out

    return run_command


def fill(bench: Bench, meters: list[MeterConfig], *samples: tuple[str, bytes], pause: float = 2) -> None:
    assert bench.hands
    history = bench.open(meters)
    for name, data in samples:
        bench.record(name, data)
        bench.hands.pass_time(pause)
    bench.wait(lambda: history.stored == len(samples))
    bench.stop()


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_has_a_column_for_each_measurement(bench: Bench, run: Run) -> None:
    history = bench.open()
    bench.record("pv", SAMPLE, measured=1_451_628_000)
    bench.wait(lambda: history.stored == 1)
    head, row = run().splitlines()
    assert " ".join(head.split()) == (
        "Arrived Measured Meter P_ac [W] P_dc [W] V_dc [V] I_dc [A] G [W/m²] T_cell [°C] Out of range"
    )
    assert row.split() == [
        "2020-09-13T12:26:40.000+00:00",
        "2016-01-01T06:00:00+00:00",
        "pv",
        "250.0",
        "260.0",
        "48.50",
        "5.36",
        "850.0",
        "45.6",
    ]
    for title, value in {"P_ac [W]": "250.0", "V_dc [V]": "48.50", "T_cell [°C]": "45.6"}.items():
        assert head.index(title) + len(title) == row.index(value) + len(value)


def test_csv_is_fit_for_a_spreadsheet(bench: Bench, run: Run) -> None:
    history = bench.open()
    bench.record("pv", SAMPLE, measured=1_451_628_000)
    bench.record("pv", SAMPLE)
    bench.wait(lambda: history.stored == 2)
    assert run("--format", "csv").splitlines() == [
        "id,arrived,measured,meter,P_ac [W],P_dc [W],V_dc [V],I_dc [A],G [W/m²],T_cell [°C],out_of_range",
        "1,2020-09-13T12:26:40.000+00:00,2016-01-01T06:00:00+00:00,pv,250,260,48.5,5.36,850,45.6,",
        "2,2020-09-13T12:26:40.000+00:00,,pv,250,260,48.5,5.36,850,45.6,",
    ]


def test_json_has_one_object_per_line(bench: Bench, run: Run) -> None:
    history = bench.open()
    bench.record("pv", SAMPLE, measured=1_451_628_000, client=client_number("192.168.1.50"))
    bench.record("pv", SAMPLE)
    bench.wait(lambda: history.stored == 2)
    first, second = [json.loads(line) for line in run("--format", "json").splitlines()]
    assert first == {
        "id": 1,
        "arrived": "2020-09-13T12:26:40.000+00:00",
        "measured": "2016-01-01T06:00:00+00:00",
        "meter": "pv",
        "unit_id": 1,
        "map": PV_MAP.fingerprint,
        "values": {"P_ac": 250, "P_dc": 260, "V_dc": 48.5, "I_dc": 5.36, "G": 850, "T_cell": 45.6},
        "out_of_range": [],
        "client": "192.168.1.50",
    }
    assert (second["id"], second["measured"], second["client"]) == (2, None, None)


def test_a_value_out_of_range_is_named(bench: Bench, run: Run) -> None:
    limits = RegisterMap((Measurement("P", 0, maximum=100), Measurement("Q", 1, minimum=5)))
    history = bench.open([MeterConfig("m", 1, limits)])
    bench.record("m", b"\x00\xc8\x00\x01", flags=1)
    bench.record("m", b"\x00\xc8\x00\x08", flags=1)
    bench.record("m", b"\x00\x08\x00\x08", flags=0)
    bench.wait(lambda: history.stored == 3)
    assert [line.partition("m  ")[2].split(maxsplit=2)[2:] for line in run().splitlines()[1:]] == [
        ["P, Q"],
        ["P"],
        [],
    ]
    assert [row["out_of_range"] for row in cells(run("--format", "csv"))] == ["P Q", "P", ""]
    assert json.loads(run("--format", "json").splitlines()[0])["out_of_range"] == ["P", "Q"]


def test_a_renamed_measurement_is_another_column_and_a_rescaled_one_is_not(bench: Bench, run: Run) -> None:
    fill(bench, [meter("m", scale=1)], ("m", registers(50)))
    fill(bench, [meter("m", scale=10)], ("m", registers(505)))
    fill(bench, [meter("m", measurement="Power")], ("m", registers(51)))
    rows = cells(run("--format", "csv"))
    assert [(row["P [W]"], row["Power [W]"]) for row in rows] == [("50", ""), ("50.5", ""), ("", "51")]
    assert "Power" not in run("--format", "csv", "--since", "2020-09-13T00:00:00+00:00").splitlines()[1]


def test_maps_that_changed_within_one_commit_keep_their_rows(bench: Bench, run: Run) -> None:
    bench.reconfigure(commit_interval=3600)
    history = bench.open([meter("m", scale=1), meter("n", 2)])
    for number, scale in enumerate((10, 100, 10), 1):
        bench.record("n", registers(number))
        history.reconfigure(bench.config, [meter("m", scale=scale), meter("n", 2)])
        bench.record("m", registers(500))
        bench.record("m", registers(600))
    assert bench.stop()
    assert query(bench.path, "SELECT name, first FROM meters ORDER BY id") == [
        ("n", 1),
        ("m", 2),
        ("m", 5),
        ("m", 8),
    ]
    rows = cells(run("--format", "csv", "--meter", "m"))
    assert [row["P [W]"] for row in rows] == ["50", "60", "5", "6", "50", "60"]


def test_columns_without_selected_rows_are_not_printed(bench: Bench, run: Run) -> None:
    fill(bench, [meter("m", measurement="old")], ("m", registers(1)), pause=7200)
    fill(bench, [meter("m", measurement="new")], ("m", registers(2)))
    assert [row["new [W]"] for row in cells(run("--format", "csv", "--since", "1h"))] == ["2"]
    assert "old" not in run("--since", "1h")
    assert "old" in run("--since", "3h")


def test_meters_share_a_table(bench: Bench, run: Run) -> None:
    meters = [meter("a", 1), meter("b", 2, measurement="Q")]
    fill(bench, meters, ("a", registers(1)), ("b", registers(2)), ("a", registers(3)))
    rows = cells(run("--format", "csv"))
    assert [(row["meter"], row["P [W]"], row["Q [W]"]) for row in rows] == [
        ("a", "1", ""),
        ("b", "", "2"),
        ("a", "3", ""),
    ]
    only = cells(run("--format", "csv", "--meter", "b"))
    assert [(row["meter"], row["Q [W]"]) for row in only] == [("b", "2")]
    assert "P [W]" not in only[0]


@pytest.mark.parametrize(
    ("measurement", "registers"),
    [
        (Measurement("x", 0, DataType.FLOAT32), b"\x7f\xc0\x00\x00"),
        (Measurement("x", 0, DataType.INT16), b"\x80\x00"),
        (Measurement("x", 0, DataType.INT32), b"\x80\x00\x00\x00"),
        (Measurement("x", 0, no_value=True), b"\xff\xff"),
    ],
)
def test_no_value_is_null_in_json_and_empty_elsewhere(
    bench: Bench, run: Run, measurement: Measurement, registers: bytes
) -> None:
    limited = measurement._replace(maximum=1000)
    fill(bench, [MeterConfig("m", 1, RegisterMap((limited,)))], ("m", registers))
    assert json.loads(run("--format", "json"))["values"] == {"x": None}
    assert cells(run("--format", "csv"))[0]["x"] == ""
    assert run("--format", "table").splitlines()[1].split()[-1] == "m"


def test_not_a_number_is_null_in_json_and_text_elsewhere_if_it_is_a_value(bench: Bench, run: Run) -> None:
    fill(
        bench,
        [MeterConfig("m", 1, RegisterMap((Measurement("x", 0, DataType.FLOAT32, no_value=False),)))],
        ("m", b"\x7f\xc0\x00\x00"),
    )
    assert json.loads(run("--format", "json"))["values"] == {"x": None}
    assert cells(run("--format", "csv"))[0]["x"] == "nan"


def test_a_long_history_is_read_in_windows(bench: Bench, run: Run) -> None:
    count = 2 * WINDOW + 100
    fill(bench, [meter("m")], *(("m", registers(number)) for number in range(count)), pause=0.5)
    rows = cells(run("--format", "csv"))
    assert [int(row["id"]) for row in rows] == list(range(1, count + 1))
    assert [int(row["P [W]"]) for row in rows] == [number % 65536 for number in range(count)]
    assert [int(row["id"]) for row in cells(run("--format", "csv", "--since", "10s"))] == list(
        range(count - 20, count + 1)
    )


class TestSince:
    """Over a clock that jumped: ten minutes each of a right clock, one ten years behind, and a right one."""

    @pytest.fixture(autouse=True)
    def story(self, bench: Bench) -> None:
        assert bench.hands
        for part in range(3):
            fill(bench, [meter("m")], *(("m", registers(part * 10 + n)) for n in range(10)), pause=60)
            bench.hands.wall += (-10 * YEAR, 10 * YEAR, 0)[part]

    @pytest.fixture
    def values(self, run: Run) -> Callable[[str], list[int]]:
        return lambda since: [int(r["P [W]"]) for r in cells(run("--format", "csv", "--since", since))]

    def test_a_time_is_compared_with_the_clock_of_each_row(self, values: Callable[[str], list[int]]) -> None:
        start = datetime.fromtimestamp(1_600_000_000, UTC).isoformat()
        assert values(start) == [*range(10), *range(20, 30)]
        assert values(datetime.fromtimestamp(1_600_000_000 + 60 * 5, UTC).isoformat()) == [
            *range(5, 10),
            *range(20, 30),
        ]
        assert values("2015-01-01T00:00:00+00:00") == [*range(10), *range(20, 30)]
        assert values("2005-01-01T00:00:00+00:00") == list(range(30))
        assert values("2030-01-01T00:00:00+01:00") == []

    def test_a_span_counts_back_from_the_newest_sample_of_another_boot(
        self, values: Callable[[str], list[int]]
    ) -> None:
        assert values("15m") == list(range(14, 30))
        assert values("0s") == [29]

    def test_a_span_counts_back_from_now_on_the_pi_that_records(self, bench: Bench) -> None:
        assert bench.hands
        bench.hands.pass_time(1000)
        bench.hands.wall += 10 * YEAR
        with closing(Reader(str(bench.path), bench.hands.clocks())) as reader:
            selection = reader.select(None, timedelta(minutes=25))
            assert [row.values["P"] for row in reader.rows(selection)] == list(range(22, 30))


def test_an_empty_history_prints_a_header_without_rows(bench: Bench, run: Run) -> None:
    bench.open()
    bench.stop()
    assert run().split() == ["Arrived", "Measured", "Meter", "Out", "of", "range"]
    assert run("--since", "1h", "--format", "json") == ""
    assert "has no samples of this meter; it has none at all yet" in run("--meter", "pv", code=2)


def test_it_is_read_while_it_is_written(bench: Bench, run: Run) -> None:
    bench.open()
    for number in range(5):
        bench.stored("pv", SAMPLE)
        assert len(cells(run("--format", "csv"))) == number + 1


def test_reading_creates_and_removes_no_files(bench: Bench, run: Run) -> None:
    fill(bench, [PV], ("pv", SAMPLE))
    run()
    assert os.listdir(bench.path.parent) == ["history.db"]
    bench.open()
    bench.stored("pv", SAMPLE)
    before = sorted(os.listdir(bench.path.parent))
    run()
    assert (
        sorted(os.listdir(bench.path.parent)) == before == ["history.db", "history.db-shm", "history.db-wal"]
    )


def test_a_copy_can_be_read_elsewhere_with_or_without_its_wal(bench: Bench, run: Run, tmp_path: Path) -> None:
    fill(bench, [PV], ("pv", SAMPLE))
    bench.open()
    bench.stored("pv", SAMPLE)
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    copy = elsewhere / "h%20 ?#.db"
    copy.write_bytes(bench.path.read_bytes())
    assert len(cells(run("--path", str(copy), "--format", "csv"))) == 1
    assert os.listdir(elsewhere) == [copy.name]
    Path(f"{copy}-wal").write_bytes(Path(f"{bench.path}-wal").read_bytes())
    assert len(cells(run("--path", str(copy), "--format", "csv"))) == 2


def test_a_checkpoint_during_an_immutable_read_repeats_the_read(bench: Bench) -> None:
    fill(bench, [meter("m")], *(("m", registers(n)) for n in range(2 * WINDOW)))
    with closing(Reader(str(bench.path))) as reader:
        rows = reader.rows(reader.select(None, None))
        assert next(rows).id == 1
        change(bench.path, "UPDATE samples SET registers = x'0007'")
        assert {row.values["P"] for row in rows if row.id > WINDOW} == {7}


def test_a_file_that_always_changes_is_given_up_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bench, [PV], ("pv", SAMPLE))
    states = iter(range(10**6))
    monkeypatch.setattr(ReadOnlyFile, "_look", lambda _: (next(states), 0))
    with pytest.raises(Exception, match="changes faster than it can be read"):
        Reader(str(bench.path))


def test_the_readable_part_of_a_damaged_file_is_printed(bench: Bench, run: Run) -> None:
    fill(bench, [meter("m")], *(("m", registers(n)) for n in range(20_000)))
    size = bench.path.stat().st_size
    with bench.path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xee" * (size // 4))
    message = run("--format", "csv", code=1)
    assert message == f"smart-meter: {bench.path}: it is damaged; the rows that could be read were printed\n"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA application_id = 7", "it is not a history of this program"),
        ("PRAGMA user_version = 2", "its version is 2; this program reads version 1"),
        ("ALTER TABLE clock RENAME TO clocks", "its tables are not this program's: no such table: clock"),
        ("UPDATE maps SET definition = '[]]'", "the register map of meter pv can't be read"),
        ("UPDATE samples SET registers = x'00'", "row 1 does not fit the map of meter pv"),
    ],
)
def test_a_file_that_is_not_a_usable_history_is_reported(
    statement: str, message: str, bench: Bench, run: Run
) -> None:
    fill(bench, [PV], ("pv", SAMPLE))
    change(bench.path, "DROP VIEW arrivals", statement)
    assert run(code=1).startswith(f"smart-meter: {bench.path}: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; the service creates it when it starts with this history.path"),
        (b"", "it is not a history of this program"),
        (b"no rows" * 1000, "it is not an SQLite database"),
    ],
)
def test_a_file_that_can_not_be_read_is_reported(
    content: bytes | None, message: str, bench: Bench, run: Run
) -> None:
    if content is not None:
        bench.path.write_bytes(content)
    assert run(code=1).startswith(f"smart-meter: {bench.path}: {message}")


def test_an_unknown_meter_is_answered_with_the_known_ones(bench: Bench, run: Run) -> None:
    fill(bench, [meter("b", 1), meter("a", 2)], ("b", registers(1)), ("a", registers(1)))
    assert run("--meter", "c", code=2) == (
        f"--meter c: {bench.path} has no samples of this meter; give one of a, b\n"
    )


class TestConfig:
    """Which file is read."""

    def test_a_configuration_names_the_file(
        self,
        bench: Bench,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fill(bench, [PV], ("pv", SAMPLE))
        config = tmp_path / "c.toml"
        config.write_text(f'[history]\npath = "{bench.path}"\n')
        assert main(["history", "--config", str(config)]) == 0
        printed = capsys.readouterr().out
        assert "250.0" in printed
        monkeypatch.setattr(command, "DEFAULT_CONFIG", config)
        assert main(["history"]) == 0
        assert capsys.readouterr().out == printed

    def test_a_configuration_without_history_is_reported(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "c.toml"
        config.write_text("")
        assert main(["history", "--config", str(config)]) == 2
        assert capsys.readouterr().err == (
            f'{config}: history.path is "", so nothing is recorded; set it, or give --path FILE\n'
        )

    def test_a_missing_configuration_is_reported(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["history", "--config", str(tmp_path / "none.toml")]) == 2
        assert "there is no such file" in capsys.readouterr().err

    def test_without_a_configuration_the_options_are_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "DEFAULT_CONFIG", tmp_path / "none.toml")
        assert main(["history"]) == 2
        assert capsys.readouterr().err == (
            f"there is no {tmp_path / 'none.toml'}; give --config FILE or --path FILE\n"
        )

    def test_a_configuration_that_this_user_may_not_even_see_is_reported(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Hidden(type(Path())):  # type: ignore[misc]  # the class that this system's paths are of
            def stat(self, **_: object) -> os.stat_result:
                raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(command, "DEFAULT_CONFIG", Hidden("/etc/c.toml"))
        assert main(["history"]) == 2
        assert capsys.readouterr().err == "/etc/c.toml: Permission denied; use sudo, or give --path FILE\n"


def test_the_view_for_sql_users_agrees(bench: Bench) -> None:
    fill(bench, [PV], ("pv", SAMPLE))
    assert query(bench.path, "SELECT meter, arrived, registers FROM arrivals") == [
        ("pv", 1_600_000_000.0, SAMPLE.hex().upper())
    ]
