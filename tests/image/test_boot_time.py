"""How long an image takes to serve, beside the same root without the appliance's units (make test-image)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import pytest

from tests.image.appliance import GRUB, SITE_CARD
from tests.image.machine import BOOT_SECONDS
from tests.image.site import Site, site
from tests.image.test_boot import IMAGE

ROUNDS = 2
GOAL = 1.3
LOGIN = "login:"


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    with site("image_time", IMAGE) as here:
        here.pi.put_on_card(SITE_CARD, here.make_card())
        here.boot()
        here.pi.learn_host_keys()
        here.settle()
        yield here


def test_it_serves_hardly_later_than_the_same_root_shows_its_login(here: Site) -> None:
    listed = here.pi.run(["sh", "-c", "ls /etc/systemd/system /usr/lib/systemd/system | grep smart-meter"])
    units = sorted(
        name for name in set(listed.stdout.split()) if name.endswith((".service", ".timer", ".socket"))
    )
    print(here.pi.run(["systemd-analyze", "critical-chain", "--no-pager", "smart-meter.service"]).stdout)
    print(here.pi.run(["sh", "-c", "systemd-analyze blame --no-pager | head -n 25"]).stdout)
    grub = here.pi.file_on_card(GRUB)
    masks = " ".join(f"systemd.mask={unit}" for unit in units)
    serves, shows = [], []

    for _ in range(ROUNDS):
        here.power_off()
        here.pi.put_on_card(GRUB, grub.encode())
        serves.append(here.boot())
        here.settle()
        here.power_off()
        here.pi.add_kernel_arguments(masks)
        shows.append(login_seconds(here))

    ratio = median(serves) / median(shows)
    print(f"first reply after {serves} s; the login without {len(units)} units after {shows} s: {ratio:.2f}")
    assert ratio <= GOAL


def login_seconds(here: Site) -> float:
    """Switch the Pi on, and return the seconds until its console shows the login."""
    console = here.pi.console_log
    before = console.read_text(errors="replace").count(LOGIN)
    started = time.monotonic()
    here.pi.switch_on()
    here.pi.wait_for(
        lambda: console.read_text(errors="replace").count(LOGIN) > before, BOOT_SECONDS, "shows no login"
    )
    return time.monotonic() - started
