"""One fleet for all stories: booting and provisioning it takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controller import Played
from tests.fleet import Fleet, two_sites
from tests.integration.pi_fleet.story import METER


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    with two_sites("fleet") as fleet:
        fleet.controller.site["concentrator_meters"] = [METER]
        fleet.controller.write()
        yield fleet


@pytest.fixture(scope="package", autouse=True)
def provisioned(fleet: Fleet) -> Played:
    """What the first run of site.yml printed; the scale is 10."""
    return fleet.controller.playbook("site.yml")
