"""How many lines the concentrator writes a day, and that the journal's limit holds 30 days of them."""

from collections import Counter

import yaml

from tests.journal_bytes import DAY, Rates, lines
from tests.unit.roles.site import REPOSITORY

BYTES_A_LINE = 680
"""Measured on a virtual Pi: 646, and 3 % for the tables of each file."""


def test_a_device_and_a_plc_write_their_lines_and_sums() -> None:
    kinds = Counter(line.partition("]")[0] for _, line in lines(600, Rates()))
    assert kinds == {"[WRITER": 1, "[RX FROM ESP32": 300, "[TX TO OPTA": 1 + 10, "[STATS": 9}


def test_the_journals_limit_holds_thirty_days() -> None:
    defaults = yaml.safe_load((REPOSITORY / "roles/appliance/defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults["appliance_journal_max_use"] == "1G"
    a_day = sum(1 for _ in lines(1800, Rates())) * DAY / 1800
    assert a_day < 46_300
    assert 30 * a_day * BYTES_A_LINE < 2**30
