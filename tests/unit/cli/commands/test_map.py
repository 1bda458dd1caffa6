from pathlib import Path

import pytest

from smart_meter.cli.main import main
from smart_meter.config import Config
from smart_meter.map_document import FORMATS, render

TWO = """
[[meters]]
name = "roof.east"
unit_id = 3
[[meters.measurements]]
name = "x"
address = 4

[[meters]]
name = "roof-east"
unit_id = 4
"""


@pytest.fixture
def two(tmp_path: Path) -> str:
    path = tmp_path / "config.toml"
    path.write_text(TWO)
    return str(path)


@pytest.mark.parametrize("form", FORMATS)
def test_the_default_map_is_printed_byte_for_byte(
    capfdbinary: pytest.CaptureFixture[bytes], form: str
) -> None:
    assert main(["map", "--format", form]) == 0
    meters = Config().meters
    assert capfdbinary.readouterr() == (render(form, meters, meters).encode(), b"")


def test_without_a_format_it_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map"]) == 0
    assert capsys.readouterr().out.startswith("## Meter pv\n")


def test_a_meters_identifiers_do_not_depend_on_the_selection(
    capsys: pytest.CaptureFixture[str], two: str
) -> None:
    assert main(["map", "--format", "c", "--config", two]) == 0
    both = capsys.readouterr().out
    assert main(["map", "--format", "c", "--config", two, "--meter", "roof-east"]) == 0
    one = capsys.readouterr().out
    assert ("ROOF_EAST_UNIT_4_START" in one, "ROOF_EAST_UNIT_3_START" in one) == (True, False)
    assert ("ROOF_EAST_UNIT_4_START" in both, "ROOF_EAST_UNIT_3_START" in both) == (True, True)


def test_an_unknown_meter_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str], two: str
) -> None:
    assert main(["map", "--config", two, "--meter", "roof"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (
        "",
        "--meter roof: no such meter; give one of roof.east, roof-east\n",
    )


def test_a_refused_configuration_ends_with_its_problems(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["map", "--config", str(tmp_path / "none.toml")]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_names_with_the_same_identifier_are_both_named_in_the_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    names = ("a.b", "a-b", "a_b_at_0")
    entries = "".join(f'[[meters.measurements]]\nname = "{n}"\naddress = {i}\n' for i, n in enumerate(names))
    path.write_text(f'[[meters]]\nname = "m"\nunit_id = 1\n{entries}')
    assert main(["map", "--format", "c", "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{path}: A_B_AT_0 would stand for ")
    assert main(["map", "--format", "markdown", "--config", str(path)]) == 0
