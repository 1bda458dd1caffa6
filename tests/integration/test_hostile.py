"""What would break a careless program: outputs that can't be written, and files of a running Pi that lie."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.program import COMMAND, PATIENCE, environment, run

PRINTING = [
    ["map"],
    ["map", "--format", "c"],
    ["--help"],
    ["read", "--help"],
    ["--version"],
    ["check-config", "/dev/null"],
    ["check-config", "--json", "/dev/null"],
    ["doctor"],
]


def shell(redirection: str, arguments: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(extra),
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_an_output_that_is_full_is_reported(arguments: list[str], unbuffered: str) -> None:
    ended = shell(">/dev/full", arguments, PYTHONUNBUFFERED=unbuffered)
    assert (ended.returncode, ended.stderr) == (
        1,
        "smart-meter: can't write the output: No space left on device\n",
    )


@pytest.mark.parametrize("arguments", PRINTING[:-1], ids=" ".join)
def test_a_reader_that_has_seen_enough_and_a_closed_output_are_no_failure(arguments: list[str]) -> None:
    for redirection in ("| true; exit ${PIPESTATUS[0]}", ">&-", ">&- 2>&-", "<&-  >&- 2>&-"):
        ended = shell(redirection, arguments)
        assert (ended.returncode, ended.stderr) == (0, ""), redirection


def test_a_failure_stays_one_where_nobody_reads_why() -> None:
    for redirection in ("2>&-", "2>/dev/full", "2> >(exec true)"):
        assert shell(redirection, ["check-config", "/nowhere"]).returncode != 0, redirection


def test_a_history_that_is_printed_to_a_closed_output_ends_quietly(tmp_path: Path) -> None:
    ended = shell(">&-", ["history", "--path", str(tmp_path / "none.db")])
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)


def test_the_doctor_looks_at_what_lies_in_its_way(tmp_path: Path) -> None:
    pipe, state = tmp_path / "pipe", tmp_path / "state.json"
    os.mkfifo(pipe)
    for path in ("/dev/zero", str(pipe), str(tmp_path), "/proc/self/mem"):
        ended = run("doctor", "--json", "--config", path)
        assert (ended.returncode, ended.stderr) == (2, ""), path
        assert json.loads(ended.stdout)["checks"], path
    os.mkfifo(state)
    assert run("doctor", "--runtime", str(tmp_path)).stderr == ""
    state.unlink()
    for content in (
        '{"layout": 1}',
        '{"layout": 1, "pid": 1, "at": 1e999, "port": [], "started": ""}',
        "[" * 9999,
    ):
        state.write_text(content)
        assert run("doctor", "--runtime", str(tmp_path)).stderr == "", content[:80]


@pytest.mark.parametrize("host", ["203.0.113.1", "::1%nowhere", "fe80::1"])
def test_an_address_that_can_not_be_listened_on_is_reported(host: str) -> None:
    ended = run("run", "--port", "0", "--host", host)
    assert ended.returncode == 1
    assert ended.stderr.startswith("smart-meter: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["nobody.invalid", "-", "a b", "xn--a", "::1%nowhere", "256.256.256.256"])
def test_a_host_that_is_not_there_is_reported(host: str) -> None:
    for command in ("read", "probe"):
        ended = run(command, "--timeout", "5", "--", host)
        assert ended.returncode == 1
        assert f"can't connect to {host}:502: " in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_configurations_that_come_by_a_pipe_are_read() -> None:
    for path in ("/dev/stdin", "/proc/self/fd/0"):
        ended = subprocess.run(
            [*COMMAND, "map", "--config", path],
            input='[[meters]]\nname = "by-pipe"\nunit_id = 4\n',
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "## Meter by-pipe" in ended.stdout
