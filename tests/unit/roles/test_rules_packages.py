"""Why packages could not be installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from roles.preflight.rules.packages import INSTALL, failure, reason, too_long

REJECTED = """\
Ign:1 http://apt.example/debian trixie InRelease
Err:1 http://apt.example/debian trixie InRelease
  Could not connect to apt.example:80 (192.0.2.7). - connect (111: Connection refused)
Reading package lists...
W: Failed to fetch http://apt.example/debian/dists/trixie/InRelease  Could not connect to apt.example:80
W: Some index files failed to download. They have been ignored, or old ones used instead.
Reading package lists...
E: Unable to locate package ufw
"""
BROKEN = (
    "dpkg: error processing package ufw (--configure):\n installed ufw package post-installation failed\n"
)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (REJECTED, "Could not connect to apt.example:80"),
        ("W: x\nE: Unable to locate package ufw\nE: other\n", "Unable to locate package ufw"),
        (BROKEN, "error processing package ufw (--configure):"),
        ("one\ntwo\n\n", "two"),
        ("\n", "no message"),
    ],
)
def test_the_first_reason_is_named(output: str, expected: str) -> None:
    assert reason(output) == expected


def test_a_missing_connection_is_named_with_the_packages_and_the_fix() -> None:
    message = failure(["authbind", "ufw"], REJECTED)
    assert message.startswith("missing packages: authbind, ufw; apt: Could not connect to apt.example:80; ")
    assert "a Pi needs a connection to Debian's packages once" in message
    assert "needs a connection" not in failure(["ufw"], BROKEN)


def test_a_lock_that_is_not_released_is_named() -> None:
    assert too_long("apt-get (pid 812)").startswith(
        "apt-get (pid 812) has been installing packages for 15 min"
    )
    assert "ps -f 812 on the Pi" in too_long("apt-get (pid 812)")


@pytest.mark.parametrize("way", ["interrupted", "whole"])
def test_an_interrupted_dpkg_is_finished_first(tmp_path: Path, way: str) -> None:
    for name in ("apt-get", "dpkg"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        script.chmod(0o755)

    done = subprocess.run(
        [shutil.which("sh") or "sh", "-c", INSTALL, "sh", way, "ufw", "iw"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["dpkg"] * (way == "interrupted") + ["apt-get"] * 3
    assert lines[-3].endswith("DPkg::Lock::Timeout=60 update")
    assert lines[-2].endswith("--no-install-recommends install -- ufw iw")
    assert lines[-1] == "apt-get clean"
