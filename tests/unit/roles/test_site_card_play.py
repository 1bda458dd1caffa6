"""playbooks/site_card.yml over an inventory: the card that it writes, without any Pi."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.unit.roles.site import PASSPHRASE, REPOSITORY, SUDO_PASSWORD, Outcome, Site, good_host
from tests.unit.site_card.sample import KEY

from smart_meter.site_card.card import Card, read
from smart_meter.site_card.checks import check

KEYS = f'site_card_keys: ["{KEY}"]\n'
WIRED = "network_field_type: ethernet\nnetwork_field_interface: eth1\nconcentrator_port_binding: socket\n"


class Cards:
    """An inventory, and the cards that were made of it."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder)
        self.folder = folder / "cards"

    def make(self, *arguments: str) -> Outcome:
        return self.site.play(
            *("-e", f"site_card_folder={self.folder}", *arguments),
            playbook=str(REPOSITORY / "playbooks/site_card.yml"),
        )

    def path(self, host: str) -> Path:
        return self.folder / host / "site-card.toml"

    def card(self, host: str) -> Card:
        return check(read(self.path(host).read_bytes())).card


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return Cards(tmp_path)


def test_each_host_gets_a_card_that_its_pi_accepts(cards: Cards) -> None:
    cards.site.hosts(
        {
            "pi-north": good_host(100) + KEYS,
            "pi-wired": good_host(101) + KEYS + WIRED + 'appliance_unattended_reboot_time: "03:30"\n',
        }
    )

    outcome = cards.make()

    assert outcome.returncode == 0, outcome.output
    north, wired = cards.card("pi-north"), cards.card("pi-wired")
    assert north.files["host_name"] == "pi-north\n"
    assert north.secrets["passphrase"] == PASSPHRASE
    assert "address1=192.168.1.100/24\n" in north.files["field_profile"]
    assert "psk=@passphrase@\n" in north.files["field_profile"]
    assert {"wifi_unit", "sshd"} <= set(north.files)
    assert not {"socket", "watchdog", "restart_timer"} & set(north.files)
    assert {"socket", "restart_timer", "restart_program"} <= set(wired.files)
    assert "wifi_unit" not in wired.files
    assert set(wired.secrets) == {"password"}
    assert any("from 192.168.1.0/24 to 192.168.1.101 port 502" in rule for rule in wired.firewall)


def test_secrets_are_for_its_owner_only_and_no_output_has_them(cards: Cards) -> None:
    cards.site.hosts({"pi-north": good_host(100) + KEYS})

    outcome = cards.make("-vvv", "--diff")

    assert outcome.returncode == 0, outcome.output
    assert stat.S_IMODE(cards.path("pi-north").stat().st_mode) == 0o600
    assert stat.S_IMODE(cards.path("pi-north").parent.stat().st_mode) == 0o700
    hashed = cards.card("pi-north").secrets["password"]
    for secret in (PASSPHRASE, SUDO_PASSWORD, hashed):
        assert secret not in outcome.output
    assert SUDO_PASSWORD not in cards.path("pi-north").read_text()


def test_the_same_inventory_makes_the_same_card(cards: Cards) -> None:
    cards.site.hosts({"pi-north": good_host(100) + KEYS})
    cards.make()
    first = cards.path("pi-north").read_bytes()

    outcome = cards.make()

    assert "changed=0" in outcome.output
    assert cards.path("pi-north").read_bytes() == first


def test_a_card_that_the_pi_would_refuse_is_not_written(cards: Cards) -> None:
    cards.site.hosts({"pi-north": good_host(100)})

    outcome = cards.make()

    assert outcome.returncode
    assert (
        "pi-north: site_card_keys: is empty, and SSH accepts only keys: nobody could log in\n"
        in outcome.output
    )
    assert not cards.path("pi-north").exists()


def test_a_password_that_sudo_asks_for_is_needed(cards: Cards) -> None:
    cards.site.hosts({"pi-north": good_host(100) + KEYS + 'ansible_become_password: ""\n'})

    outcome = cards.make()

    assert outcome.returncode
    assert "ansible_become_password" in outcome.output
    assert not cards.path("pi-north").exists()
    cards.site.hosts({"pi-north": good_host(100) + KEYS + "preflight_sudo_asks: false\n"})
    assert cards.make().returncode == 0
    assert not cards.card("pi-north").sudo_asks


def test_a_mistake_in_the_inventory_is_found_first(cards: Cards) -> None:
    cards.site.hosts({"pi-north": good_host(100) + KEYS + "concentrator_prot: 1\n"})

    assert "concentrator_prot: is not a variable" in cards.make().only("concentrator_prot")
    assert not cards.path("pi-north").exists()


def test_a_card_can_replace_another_host(cards: Cards) -> None:
    cards.site.hosts({"pi-south": good_host(100) + KEYS})

    outcome = cards.make("-e", "site_card_replaces=pi-north")

    assert outcome.returncode == 0, outcome.output
    assert cards.card("pi-south").replaces == "pi-north"


def test_in_check_mode_nothing_is_written(cards: Cards) -> None:
    cards.site.hosts({"pi-north": good_host(100) + KEYS})

    assert cards.make("--check").returncode == 0
    assert not cards.path("pi-north").exists()
