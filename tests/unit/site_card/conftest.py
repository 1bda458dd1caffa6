"""The Pi of each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.site_card.sample import VirtualPi


@pytest.fixture
def pi(tmp_path: Path) -> VirtualPi:
    return VirtualPi(tmp_path)
