"""One fleet for all tests of this package, since booting and provisioning it takes long."""

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
    """The first run of site.yml; the scale is 10 afterwards."""
    return fleet.controller.playbook("site.yml")
