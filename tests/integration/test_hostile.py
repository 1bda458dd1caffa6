"""Inputs and outputs that break a careless program: unwritable outputs, odd files, wrong addresses."""

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
def test_a_full_output_is_reported(arguments: list[str], unbuffered: str) -> None:
    ended = shell(">/dev/full", arguments, PYTHONUNBUFFERED=unbuffered)
    assert (ended.returncode, ended.stderr) == (
        1,
        "smart-meter: can't write the output: No space left on device\n",
    )


@pytest.mark.parametrize("arguments", PRINTING[:-1], ids=" ".join)
def test_a_closed_pipe_or_output_is_not_a_failure(arguments: list[str]) -> None:
    for redirection in ("| true; exit ${PIPESTATUS[0]}", ">&-", ">&- 2>&-", "<&-  >&- 2>&-"):
        ended = shell(redirection, arguments)
        assert (ended.returncode, ended.stderr) == (0, ""), redirection


def test_a_failure_is_a_failure_even_if_the_error_can_not_be_printed() -> None:
    for redirection in ("2>&-", "2>/dev/full", "2> >(exec true)"):
        assert shell(redirection, ["check-config", "/nowhere"]).returncode != 0, redirection


def test_a_missing_history_and_a_closed_output_give_one_error(tmp_path: Path) -> None:
    ended = shell(">&-", ["history", "--path", str(tmp_path / "none.db")])
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)


def test_the_doctor_survives_odd_configuration_and_state_files(tmp_path: Path) -> None:
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
def test_an_address_that_can_not_be_bound_is_reported(host: str) -> None:
    ended = run("run", "--port", "0", "--host", host)
    assert ended.returncode == 1
    assert ended.stderr.startswith("smart-meter: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["nobody.invalid", "-", "a b", "xn--a", "::1%nowhere", "256.256.256.256"])
def test_a_host_that_can_not_be_reached_is_reported(host: str) -> None:
    for command in ("read", "probe"):
        ended = run(command, "--timeout", "5", "--", host)
        assert ended.returncode == 1
        assert f"can't connect to {host}:502: " in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_configuration_can_be_read_from_a_pipe() -> None:
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
