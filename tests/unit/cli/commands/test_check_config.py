import json
from pathlib import Path

import pytest

from smart_meter.cli.main import main


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.toml"
    path.write_text('name = "roof"\n')
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.toml"
    path.write_text("[server]\nport = 0\nhsot = 1\n")
    return str(path)


def test_a_valid_file_is_summarised(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", good]) == 0
    assert capsys.readouterr().out == (
        f"{good}: ok, 0.0.0.0:502; zones: field 192.168.1.0/24 read-write, control 192.168.2.0/24 read; "
        "meters: pv (unit 1)\n"
    )


def test_every_problem_of_every_file_is_reported(
    good: str, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", bad, good, bad + ".none"]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{good}: ok")
    assert printed.err.splitlines() == [
        f"{bad}: server.port: 0 is out of range; give an integer from 1 to 65535",
        f'{bad}: server.hsot: is an unknown key; did you mean "host"?',
        f"{bad}.none: there is no such file; create it, or name another",
    ]


def test_as_json_each_problem_has_its_key(good: str, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--json", good, bad]) == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    record = json.loads(printed.out)
    assert [problem["key"] for problem in record[bad]["problems"]] == ["server.port", "server.hsot"]
    assert record[good]["problems"] == []
    assert [zone["address"] for zone in record[good]["zones"]] == ["192.168.1.100", "192.168.2.100"]
    assert [(m["name"], m["unit_id"], m["last_register"]) for m in record[good]["meters"]] == [("pv", 1, 7)]


def test_a_refused_configuration_does_not_start_the_service(
    bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--trial", "--config", bad]) == 2
    assert capsys.readouterr().err.startswith(f"{bad}: server.port: 0 is out of range")
