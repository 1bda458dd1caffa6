"""The command line: what it accepts, and what it refuses."""

import argparse
from datetime import UTC, datetime, timedelta

import pytest

from smart_meter import __version__
from smart_meter.cli.parser import make_parser

COMMANDS = [
    "run",
    "reload",
    "check-config",
    "simulate",
    "read",
    "probe",
    "map",
    "history",
    "events",
    "doctor",
]


def parse(line: str) -> argparse.Namespace:
    return make_parser().parse_args(line.split())


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        parse(line)
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_has_examples_and_the_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(f"{command} --help")
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert "examples:\n  smart-meter " in printed or "examples:\n  sudo " in printed
    assert "exit codes: 0" in printed


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    printed = capsys.readouterr().out
    assert [command for command in COMMANDS if f"\n    {command}" not in printed] == []


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--version")
    assert capsys.readouterr().out == f"smart-meter {__version__}\n"


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: smart-meter" in refused("", capsys)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("192.168.2.100", ("192.168.2.100", 502)),
        ("192.168.2.100:1502", ("192.168.2.100", 1502)),
        ("localhost:1502", ("localhost", 1502)),
        ("::1", ("::1", 502)),
        ("[::1]", ("::1", 502)),
        ("[::1]:1502", ("::1", 1502)),
    ],
)
def test_a_target_is_a_host_with_or_without_a_port(text: str, target: tuple[str, int]) -> None:
    assert parse(f"read {text}").target == target
    assert parse(f"simulate opta --to {text}").to == target


@pytest.mark.parametrize(
    "text", [":502", "host:", "host:0", "host:65536", "host:x", "[::1]x", "[]:502", "[::1]:"]
)
def test_an_invalid_target_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "argument HOST[:PORT]" in refused(f"read {text}", capsys)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --port 65536", "'65536' is not a port; give 0 to 65535"),
        ("run --port -1", "argument --port"),
        ("run --port ²", "'²' is not a port"),
        ("run --host pi", "'pi' is not an IP address"),
        ("run --log-format xml", "argument --log-format"),
        ("run --unknown", "unrecognized arguments: --unknown"),
        ("check-config", "the following arguments are required: FILE"),
        ("read x --unit 256", "'256' is not a unit identifier; give 0 to 255"),
        ("read x --timeout 0", "'0' is out of range; give a number above 0"),
        ("read x --timeout nan", "'nan' is out of range"),
        ("simulate plc --to x", "argument peer"),
        ("simulate opta", "the following arguments are required: --to"),
        ("simulate opta --to x --count 0", "'0' is not a count; give 1 or more"),
        ("simulate opta --to x --interval -1", "argument --interval"),
        ("simulate esp32 --to x --start 2016-01-01", "give one with its zone"),
        ("simulate esp32 --to x --start never", "give one with its zone"),
        ("simulate esp32 --to x --start 1960-01-01T00:00:00+00:00", "give one with its zone"),
        ("probe x --expect all", "argument --expect"),
        ("history --since 24", "'24' is not a valid time; give a span such as 30m, 24h or 7d"),
        ("history --since 1.5h", "'1.5h' is not a valid time"),
        ("history --since 99999999d", "'99999999d' is not a valid time"),
        ("history --since 2026-01-01", "or a time with its zone"),
        ("history --config a --path b", "not allowed with argument"),
        ("history --format xml", "argument --format"),
        ("events --kind refused,nothing", "'nothing' is not a kind of event; give some of start, stop"),
        ("events --since 24", "'24' is not a valid time"),
        ("events --config a --path b", "not allowed with argument"),
    ],
)
def test_an_invalid_argument_is_refused_with_the_fix(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(line, capsys)


def test_a_start_time_may_have_any_zone() -> None:
    start = parse("simulate esp32 --to x --start 2016-01-01T07:00:00+01:00").start
    assert start == datetime(2016, 1, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("0s", timedelta()),
        ("2016-01-01T07:00:00+01:00", datetime(2016, 1, 1, 6, tzinfo=UTC)),
    ],
)
def test_the_history_since_a_span_or_a_time(text: str, since: datetime | timedelta) -> None:
    assert parse(f"history --since {text}").since == since
