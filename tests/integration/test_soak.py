"""The soak itself, in small: what is run once a release must not rust until then."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.program import environment

pytestmark = pytest.mark.pi

ROOT = Path(__file__).parents[2]


def test_a_small_soak_ends_with_a_table_and_loses_nothing() -> None:
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
    assert len(rows) == 4, "a heading, a rule, and a row for each hardship"
    assert re.search(r"\| 20,0\d\d frames over .* \| 0 of [\d,]+ answers, 0 reads", rows[2]), rows
    assert re.search(r"\| 5 kills, .* \| 0 acknowledged samples; ", rows[3]), rows
    after = results.read_bytes() if results.exists() else None
    assert after == before, "a part of the soak is no result"
