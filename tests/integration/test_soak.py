"""A quick soak: it normally runs once per release, and must still work then."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.program import environment

pytestmark = pytest.mark.pi

ROOT = Path(__file__).parents[2]


def test_a_quick_soak_passes_and_prints_a_table() -> None:
    results = ROOT / "soak" / "results.md"
    before = results.read_bytes() if results.exists() else None
    done = subprocess.run(
        [sys.executable, "-m", "soak", "--quick", "--only", "frames", "kills"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 4, "not a heading, a separator, and a row for each scenario"
    assert re.search(r"\| 20,0\d\d frames over .* \| 0 of [\d,]+ replies, 0 reads", rows[2]), rows
    assert re.search(r"\| 5 kills, .* \| 0 acknowledged samples; ", rows[3]), rows
    after = results.read_bytes() if results.exists() else None
    assert after == before, "a partial soak must not replace the results"
