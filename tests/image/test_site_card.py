"""The amd64 image and a site card: from the card to an ordinary member of the fleet (make test-image)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest

from tests.image.machine import BOOT_SECONDS
from tests.image.site import Site, site
from tests.image.test_boot import IMAGE
from tests.integration.pi_story import EXAMPLE, NAME


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    with site("image_card", IMAGE) as here:
        yield here


def test_the_opta_reads_after_the_first_boot_with_a_site_card(here: Site) -> None:
    here.pi.put_on_card("site-card.toml", here.make_card())

    print(f"first boot: {here.boot():.0f} s to the first reply")

    here.pi.learn_host_keys()
    assert here.settle() == "running", here.failed()
    assert here.pi.run(["hostname"]).stdout.strip() == NAME


def test_the_opta_reads_what_the_esp32_writes(here: Site) -> None:
    assert here.write("field", *EXAMPLE).returncode == 0
    assert here.read() == EXAMPLE
    assert here.write("control", *EXAMPLE, address="192.168.2.100").returncode != 0


def test_the_card_has_an_answer_and_no_secrets_any_more(here: Site) -> None:
    secrets = tomllib.loads(here.make_card().decode())["secrets"]
    assert secrets
    assert "was applied" in here.answer()
    site = here.pi.raw_site_partition()
    assert NAME.encode() in site
    # Not in the card, and not in a block that it had before.
    assert [name for name, secret in secrets.items() if secret.encode() in site] == []


def test_site_finds_nothing_to_change(here: Site) -> None:
    assert here.play("site.yml") == 0


def test_verify_and_doctor_find_nothing_bad(here: Site) -> None:
    assert "BAD" not in here.controller.playbook("verify.yml").output
    assert f"last was the card of {NAME}" in here.doctor()


def test_what_configure_changes_survives_a_restart(here: Site) -> None:
    here.controller.site["concentrator_name"] = "by the inventory"
    here.controller.write()
    here.play("configure.yml")

    here.pi.reboot(BOOT_SECONDS)
    here.serves_within(BOOT_SECONDS)

    assert 'name = "by the inventory"' in here.pi.run(["cat", "/etc/smart-meter/config.toml"]).stdout
    assert "last was the inventory" in here.doctor()
    assert here.play("site.yml") == 0
