"""Whatever its arguments, a sub-command ends with an exit code and a message, never with a traceback.

Every argument of every sub-command is tried with every hostile value of its kind. Values that would open a
socket or start a service are tried in tests/integration/test_hostile.py.
"""

import argparse
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_meter.cli.arguments import MAX_PID
from smart_meter.cli.main import main
from smart_meter.cli.parser import make_parser

HUGE = "9" * 5000
NUMBERS = [
    "",
    "x",
    "nan",
    "-inf",
    "1e400",
    "99999999999999999999",
    HUGE,
    "²",
    "٣",
    "\0",
    "\udcff",
    "0x1",
    "1_0",
]
HOSTS = [
    *("", "[", "[]", "[::1", "[\0]", ":1", "a:", "a:99999", f"a:{HUGE}", "a:²", "::1%\0", f"::1%{'x' * 300}"),
    *("192.168.1..100", ".", "..", "\u3002", "a" * 64, f"{'a' * 64}.b", "ß" * 70, "a\0b", "\udcff", "a\nb"),
]
BAD_PATHS = ["", "\0", "a\0b"]
UNUSABLE_PATHS = [
    *("nowhere", ".", "/", "a" * 300, "/" + "a/" * 3000, "\udcff\udcfe", "\n", "\x1b[2J", "-"),
    *("FOLDER", "FOLDER/pipe", "FOLDER/loop", "FOLDER/binary", "FOLDER/big", "FOLDER/deep", "FOLDER/digits"),
    *("FOLDER/usable/x", "/dev/zero", "/proc/self/mem"),
]
TIMES = [
    *("", "0", "2016", "2016-01-01T06:00:00", "2016-01-01T06:00:00+24:00", "-1s", "1.5h", "99999999d", "²h"),
    *("24h\0", "\udcffh", HUGE, f"{HUGE}s"),
]
OLD = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
WORDS = ["", "x", "\0", "\udcff", HUGE]

REFUSED: dict[str, list[str]] = {
    "run --port": [*NUMBERS, "-1", "65536"],
    "run --host": [*HOSTS, "pi", "224.0.0.1", "ff02::1", "255.255.255.255"],
    "run --log-format": WORDS,
    "run --config": [*BAD_PATHS, *UNUSABLE_PATHS],
    "reload --config": [*BAD_PATHS, *UNUSABLE_PATHS],
    "reload --pid": [*NUMBERS, "0", "-1", str(MAX_PID + 1)],
    "reload --runtime": BAD_PATHS,
    "check-config files": [*BAD_PATHS, *UNUSABLE_PATHS],
    "simulate peer": WORDS,
    "simulate --to": HOSTS,
    "simulate --interval": [*NUMBERS[:6], HUGE, "0", "-1"],
    "simulate --count": [*NUMBERS, "0", "-1"],
    "simulate --seed": NUMBERS,
    "simulate --speed": [*NUMBERS[:6], HUGE, "0", "-1"],
    "simulate --start": [*TIMES, *OLD],
    "read target": HOSTS,
    "probe target": HOSTS,
    "probe --expect": WORDS,
    "map --format": WORDS,
    "map --config": [*BAD_PATHS, *UNUSABLE_PATHS],
    "map --meter": WORDS,
    "history --config": [*BAD_PATHS, *UNUSABLE_PATHS],
    "history --path": [*BAD_PATHS, *UNUSABLE_PATHS],
    "history --meter": WORDS,
    "history --since": [*TIMES, *OLD],
    "history --format": WORDS,
    "events --config": [*BAD_PATHS, *UNUSABLE_PATHS],
    "events --path": [*BAD_PATHS, *UNUSABLE_PATHS],
    "events --since": [*TIMES, *OLD],
    "events --kind": WORDS,
    "events --client": WORDS,
    "events --format": WORDS,
    "history action": WORDS,
    "history copy": [*BAD_PATHS, *UNUSABLE_PATHS],
    "events action": WORDS,
    "events event_kind": WORDS,
    "events event_text": ["", "\n", HUGE],
    "events --runtime": [*BAD_PATHS, *UNUSABLE_PATHS],
    "events --waiting": [*BAD_PATHS, "FOLDER/usable/x", "FOLDER", "FOLDER/pipe", "FOLDER/loop", "a" * 300],
    "doctor --config": BAD_PATHS,
    "doctor --runtime": BAD_PATHS,
    "site-card action": WORDS,
    "site-card file": [*BAD_PATHS, *UNUSABLE_PATHS],
    "site-card --folder": BAD_PATHS,
    "site-card --root": BAD_PATHS,
}
for command in ("simulate", "read", "probe"):
    REFUSED |= {
        f"{command} --unit": [*NUMBERS, "-1", "256"],
        f"{command} --config": [*BAD_PATHS, *UNUSABLE_PATHS],
        f"{command} --timeout": [*NUMBERS[:6], HUGE, "0", "-1"],
    }
OTHERS = {
    "run": [],
    "reload": ["--pid", str(MAX_PID)],
    "check-config": [],
    "simulate": ["opta", "--to", "127.0.0.1:1"],
    "read": ["127.0.0.1:1"],
    "probe": ["127.0.0.1:1"],
    "map": [],
    "history": ["--path", "FOLDER/nowhere"],
    "events": ["--path", "FOLDER/nowhere"],
    "doctor": [],
    "site-card": ["check"],
}
"""A sub-command's other arguments; if an argument is given twice, the later one counts."""
SWITCHES = {"--help", "--json", "--trial"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "big").write_bytes(b"#" * 2_000_000)
    (folder / "deep").write_text("a = " + "[" * 5000)
    (folder / "digits").write_text(f"a = {HUGE}")
    (folder / "usable").write_text("")
    return folder


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    # No command here has a reason to wait, so one that waits would wait forever.
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(30)
    yield
    signal.alarm(0)


def sub_commands() -> dict[str, argparse.ArgumentParser]:
    [commands] = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(commands.choices)


_OF_EVENTS_ADD = ("action", "event_kind", "event_text", "--runtime", "--waiting")
_EVENTS_ADD = ["--runtime", "FOLDER/nowhere", "--waiting", "FOLDER/no/such/file"]


def line(argument: str, value: str) -> list[str]:
    command, name = argument.split()
    if command == "events" and name in _OF_EVENTS_ADD:
        given = {
            "action": [value],
            "event_kind": ["add", value, "x"],
            "event_text": ["add", "release", value],
        }
        option = [f"{name}={value}"] if name.startswith("--") else []
        return [command, *_EVENTS_ADD, *option, "--", *given.get(name, ["add", "release", "x"])]
    if name.startswith("--"):
        others = (
            [] if command in ("history", "events") and name in ("--path", "--config") else OTHERS[command]
        )
        return [command, *others, f"{name}={value}"]
    if name == "file":
        return [command, *OTHERS[command], "--", value]
    if name == "copy":
        return [command, *OTHERS[command], "--", "backup", value]
    if name == "peer":
        return [command, *OTHERS[command][1:], "--", value]
    return [command, "--", value]


@pytest.mark.parametrize("argument", REFUSED)
def test_a_hostile_value_is_refused_with_a_message(
    argument: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in REFUSED[argument]:
        arguments = [word.replace("FOLDER", str(folder)) for word in line(argument, value)]
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        lines = printed.err.strip().splitlines()
        assert code in (1, 2), arguments
        assert lines, arguments
        assert len(lines[-1]) < 7000, arguments
        assert "invalid _" not in printed.err, arguments


def test_every_argument_of_every_sub_command_is_in_the_table() -> None:
    expected = {
        f"{name} {action.option_strings[-1] if action.option_strings else action.dest}"
        for name, command in sub_commands().items()
        for action in command._actions
        if not SWITCHES & set(action.option_strings)
    }
    assert expected == set(REFUSED)


def test_an_invalid_main_pid_in_the_environment_is_refused_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in ("99999999999999999999", HUGE, "-1", "²", "\udcff", str(MAX_PID)):
        monkeypatch.setenv("MAINPID", number)
        assert main(["reload", "--config", str(folder / "usable"), "--runtime", str(folder)]) == 1
        assert capsys.readouterr().err.startswith("smart-meter: ")
