"""The soak's power cuts, with small counts: they leave no loop device, folder or process behind."""

import subprocess
import sys
from pathlib import Path

import pytest
from soak.machine import wait_until
from soak.power_disk import MEMORY, owner, remove_stale_disks

from tests.integration.networks import WITH_US, is_running
from tests.integration.program import PATIENCE, environment

pytestmark = pytest.mark.pi

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "soak", "--quick", "--only", "power")


def _attached() -> set[int]:
    """Return the process IDs in the names of attached loop devices."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.add(owner(path.read_text()))
        except OSError:
            continue  # Detached at this moment.
    return {pid for pid in found if pid is not None}


def _folders() -> set[int]:
    return {pid for path in MEMORY.iterdir() if (pid := owner(path.name)) is not None}


def _of_dead_processes(pids: set[int]) -> set[int]:
    return {pid for pid in pids if not is_running(pid)}


def test_two_power_cuts_lose_nothing_and_the_control_does() -> None:
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = [line for line in done.stdout.splitlines() if line.startswith("| ")][-1]
    assert "| 2 cuts, 0 with a renamed history file; " in row
    lost = "0 acknowledged samples; 0 of 2 starts in the audit trail; 0 damaged files or file systems"
    assert f"| {lost}; control with flushes" in row
    assert _of_dead_processes(_attached() | _folders()) == set()


def test_a_killed_run_leaves_nothing_attached_and_a_folder_that_the_next_one_removes() -> None:
    before = _attached()
    with subprocess.Popen(
        [*WITH_US, *COMMAND], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        try:
            assert wait_until(lambda: bool(_attached() - before), PATIENCE)
            (pid,) = _attached() - before
        finally:
            process.kill()
    assert wait_until(lambda: not is_running(pid) and pid not in _attached(), PATIENCE)
    assert pid in _folders()
    remove_stale_disks()
    assert pid not in _folders()
