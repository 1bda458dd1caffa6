"""How much an image writes to its card in a year, idle and at work (make test-image)."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.controller import REPOSITORY
from tests.image.appliance import SITE_CARD
from tests.image.flash import IMAGE
from tests.image.site import Site, site

YEAR = 365.25 * 86400
# Until what the boot has left is written: the kernel keeps changed pages for a quarter of an hour.
SETTLE_SECONDS = 1200
# Two of those intervals.
SECONDS = 1800
IDLE_BYTES, WORK_BYTES = 10e9, 80e9


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    with site("image_writes", IMAGE) as here:
        here.pi.put_on_card(SITE_CARD, here.make_card())
        here.boot()
        here.pi.learn_host_keys()
        here.settle()
        yield here


def written_in_a_year(here: Site, settle: int) -> float:
    """Return the bytes that the card is written in a year like the next minutes."""
    # In one command, since a login leaves lines in the journal.
    count = "set -- $(cat /sys/block/vda/stat); echo $7"
    script = f"sleep {settle}; {count}; sleep {SECONDS}; {count}"
    shown = here.pi.run(["sh", "-c", script], timeout=settle + SECONDS + 300).stdout
    first, second = map(int, shown.split())
    return (second - first) * 512 / SECONDS * YEAR


def test_an_idle_pi_hardly_writes(here: Site) -> None:
    year = written_in_a_year(here, SETTLE_SECONDS)

    print(f"idle: {year / 1e9:.1f} GB a year")
    assert year <= IDLE_BYTES


def test_a_pi_at_work_writes_little(here: Site) -> None:
    esp32 = [sys.executable, "-m", "tests.image.esp32", "1", "2"]
    with (
        here.opta("hold", "--rate", "10") as reads,
        here.lab.popen("field", esp32, cwd=REPOSITORY) as process,
    ):
        year = written_in_a_year(here, SETTLE_SECONDS)
        samples, _ = process.communicate(timeout=60)

    count = len(samples.splitlines())
    print(
        f"at work: {year / 1e9:.1f} GB a year; {count} samples, {reads.times} reads, {len(reads.lost)} lost"
    )
    assert count > (SETTLE_SECONDS + SECONDS) / 4
    assert reads.lost == []
    assert year <= WORK_BYTES
