import pytest

from smart_meter.config.toml_table import ConfigProblem, one_of, show, show_key


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain °C", '"plain °C"'),
        ("line\nbreak", '"line\\nbreak"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        (True, "true"),
        (5, "5"),
        (1.5, "1.5"),
        ([1, "x"], "[1, 'x']"),
        ("x" * 100, '"' + "x" * 58 + "…"),
        ([1] * 100, "a list of 100"),
        ({"a": "\u202e"}, "{'a': '\\u202e'}"),
    ],
)
def test_a_value_is_shown_on_one_line_of_bounded_length(value: object, shown: str) -> None:
    assert show(value) == shown


def test_an_integer_too_long_to_be_written_out_is_shown_by_its_size() -> None:
    huge = 1 << 100_000
    assert [show(huge), show(-huge)] == ["an integer of 100001 bits"] * 2
    assert [show([huge]), show({"a": huge})] == ["a list of 1", "a table of 1"]


def test_a_key_that_is_not_plain_is_shown_in_quotes() -> None:
    assert [show_key("unit_id"), show_key("a b"), show_key("a\nb")] == ["unit_id", '"a b"', '"a\\nb"']


def test_choices_are_listed_as_in_a_sentence() -> None:
    assert [one_of(["a"]), one_of(["a", "b"]), one_of(["a", "b", "c"])] == [
        '"a"',
        '"a" or "b"',
        '"a", "b" or "c"',
    ]


def test_a_problem_without_a_key_is_about_the_file() -> None:
    assert str(ConfigProblem("c.toml", "", "is a directory")) == "c.toml: is a directory"
    assert str(ConfigProblem("c.toml", "zones[0].peer", "is missing")) == "c.toml: zones[0].peer: is missing"
