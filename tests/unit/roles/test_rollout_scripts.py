"""The functions that the scripts on the Pi share: claims, and guards of older releases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from roles.concentrator.rollout.pi import FILES, assembled

OLD_GUARD = "undo) echo rolled back $2 ;; knows) [ $2 = configuration ] ;;"
NEW_GUARD = "roll_back) echo rolled back $2 ;; supports) [ $2 = configuration ] ;;"


def run(script: str, folder: Path, *, guard: str = NEW_GUARD) -> subprocess.CompletedProcess[str]:
    """Run shell commands after common.sh, with a guard that has the given commands and no others."""
    program = folder / "smart-meter-guard"
    program.write_text(f"#!/bin/sh\ncase $1 in {guard} *) echo usage >&2; exit 2 ;; esac\n")
    program.chmod(0o755)
    common = (FILES / "common.sh").read_text(encoding="utf-8")
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "CONTROLLER": "anna@laptop, process 7"}
    return subprocess.run(
        ["/bin/sh", "-euc", f"{common}\n{script}"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("guard", [OLD_GUARD, NEW_GUARD], ids=["of an older release", "of this release"])
def test_a_guard_of_any_release_rolls_back(tmp_path: Path, guard: str) -> None:
    done = run("guard_supports configuration && guard_roll_back configuration", tmp_path, guard=guard)

    assert (done.returncode, done.stdout, done.stderr) == (0, "rolled back configuration\n", "")


def test_a_guard_without_the_change_does_not_support_it(tmp_path: Path) -> None:
    done = run("guard_supports configuration", tmp_path, guard="undo) ;;")

    assert done.returncode != 0
    assert done.stderr == ""


def test_a_script_that_arrived_in_part_does_not_run() -> None:
    shell = assembled("prune.sh", "")
    before_its_end = shell[: shell.index("rm -rf .damaged-*")]

    done = subprocess.run(
        ["/bin/sh", "-s", "newest", "1"], input=before_its_end, check=False, capture_output=True, text=True
    )

    assert done.returncode != 0
    assert done.stdout == ""
    assert "/opt/smart-meter" not in done.stderr
