"""`smart-meter events`: the audit trail as a table, as CSV and as JSON."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from smart_meter.cli.commands import events as command
from smart_meter.cli.main import main
from smart_meter.history.clocks import Clocks
from smart_meter.log.audit import reader
from smart_meter.log.audit.kinds import Kind
from tests.unit.history.bench import Hands, change
from tests.unit.log.audit.bench import Bench

Run = Callable[..., str]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    one = Bench(tmp_path / "events.db", Hands())
    monkeypatch.setattr(Clocks, "system", classmethod(lambda _: one.hands.clocks()))
    return one


@pytest.fixture
def run(bench: Bench, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["events", "--path", str(bench.path), *arguments]) == code
        printed = capsys.readouterr()
        assert bool(printed.err) is bool(code)
        return printed.err if code else printed.out

    return run_command


def fill(bench: Bench) -> None:
    bench.add(Kind.START, "smart-meter started", detail="process 1")
    bench.hands.pass_time(60)
    for number in range(3):
        bench.add(Kind.REFUSED, f"wrote register {number}", "192.168.1.51", meter="pv", detail="exception 02")
        bench.hands.pass_time(1)
    bench.add(Kind.STALE, "no sample for 60 s", meter="pv")


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_has_a_row_per_run_of_like_events(bench: Bench, run: Run) -> None:
    fill(bench)
    assert [" ".join(line.split()) for line in run().splitlines()] == [
        "First Last Count Kind Client Meter Event",
        "2020-09-13T12:26:40+00:00 1 start - - smart-meter started (process 1)",
        "2020-09-13T12:27:40+00:00 2020-09-13T12:27:42+00:00 3 refused 192.168.1.51 pv wrote register 0 "
        "(exception 02)",
        "2020-09-13T12:27:43+00:00 1 stale - pv no sample for 60 s",
    ]


def test_csv_and_json_have_every_column(bench: Bench, run: Run) -> None:
    fill(bench)
    expected = {
        "id": 2,
        "first": "2020-09-13T12:27:40.000+00:00",
        "last": "2020-09-13T12:27:42.000+00:00",
        "count": 3,
        "kind": "refused",
        "client": "192.168.1.51",
        "meter": "pv",
        "text": "wrote register 0",
        "detail": "exception 02",
    }
    assert json.loads(run("--format", "json").splitlines()[1]) == expected
    assert cells(run("--format", "csv"))[1] == {name: str(value) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (["--kind", "refused,stale"], ["refused", "stale"]),
        (["--kind", "stop"], []),
        (["--client", "192.168.1.51"], ["refused"]),
        (["--client", "192.168.1.5"], []),
        (["--since", "2s"], ["refused", "stale"]),
        (["--since", "0s"], ["stale"]),
        (["--since", "2020-09-13T12:27:42+00:00"], ["refused", "stale"]),
        (["--since", "2020-09-13T12:27:43+00:00"], ["stale"]),
    ],
)
def test_a_selection(bench: Bench, run: Run, arguments: list[str], kinds: list[str]) -> None:
    fill(bench)
    assert [row["kind"] for row in cells(run("--format", "csv", *arguments))] == kinds


def test_a_time_span_counts_back_from_now_by_the_running_time(bench: Bench, run: Run) -> None:
    fill(bench)
    bench.hands.wall -= 1e6
    bench.hands.pass_time(100)
    assert cells(run("--format", "csv", "--since", "99s")) == []
    assert len(cells(run("--format", "csv", "--since", "101s"))) == 2
    # On another machine, or after a reboot, from the newest event.
    bench.hands.boot = "b"
    assert len(cells(run("--format", "csv", "--since", "1s"))) == 2


def test_the_file_is_read_in_windows(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WINDOW", 7)
    for number in range(40):
        bench.add(Kind.REFUSED, "x" * number)
    assert len(cells(run("--format", "csv"))) == 40


@pytest.mark.parametrize("shape", ["table", "csv", "json"])
def test_control_characters_in_the_file_do_nothing_to_a_terminal(bench: Bench, run: Run, shape: str) -> None:
    bench.add(Kind.REFUSED, "harmless")
    bench.store.close()
    change(bench.path, "UPDATE events SET text = 'a' || char(27) || '[2J' || char(10), client = char(8238)")
    printed = run("--format", shape)
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "x1b[2J" in printed


def test_reading_a_file_that_is_not_in_use_creates_nothing_beside_it(bench: Bench, run: Run) -> None:
    fill(bench)
    bench.store.close()
    run()
    assert os.listdir(bench.path.parent) == ["events.db"]


def test_the_configuration_names_the_file(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(bench)
    config = tmp_path / "config.toml"
    config.write_text(f'[events]\npath = "{bench.path}"\n')
    assert main(["events", "--config", str(config)]) == 0
    assert "refused" in capsys.readouterr().out
    config.write_text("")
    assert main(["events", "--config", str(config)]) == 2
    assert 'events.path is "", so there is no audit trail' in capsys.readouterr().err


def test_without_a_configuration_the_fix_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "DEFAULT_CONFIG", tmp_path / "none.toml")
    assert main(["events"]) == 2
    assert "give --config FILE or --path FILE" in capsys.readouterr().err


def test_what_is_wrong_with_the_file_is_explained(bench: Bench, run: Run) -> None:
    bench.store.close()
    change(bench.path, "PRAGMA user_version = 9")
    assert "its version is 9" in run(code=1)
    bench.path.write_bytes(b"nonsense" * 1000)
    assert "it is not an SQLite database" in run(code=1)
    bench.path.unlink()
    assert "there is no such file" in run(code=1)
