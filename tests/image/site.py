"""A site with a booted image: its Pi, which only a site card has set up, and the operator's laptop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controller import Controller
from tests.image.appliance import ANSWER, SITE_CARD, ImagePi
from tests.image.machine import BOOT_SECONDS
from tests.integration.pi_story import NAME, Story
from tests.virtual_pi import Lab, places

CARD = 4 * 1024**3
# The machine has no radio: its field network is the second port.
FIELD = {"network_field_interface": "eth1", "network_field_type": "ethernet"}


@dataclass
class Site(Story):
    """A story on a booted image. Every boot is a real one."""

    pi: ImagePi

    def make_card(self, *arguments: str) -> bytes:
        """Make the site card of the inventory as it is now, as `make site-card` does."""
        folder = self.lab.folder / "cards"
        self.controller.playbook(
            *("site_card.yml", "--limit", NAME, "-e", f"site_card_folder={folder}"), *arguments
        )
        return (folder / NAME / SITE_CARD).read_bytes()

    def boot(self) -> float:
        """Switch the Pi on, and return the seconds until the Opta gets its first reply."""
        self.pi.switch_on()
        return self.serves_within(BOOT_SECONDS)

    def boot_with(self, card: bytes) -> str:
        """Switch the Pi off, put a card on it, boot it, and return the answer on the card."""
        if self.pi.is_on:
            self.power_off()
        self.pi.put_on_card(SITE_CARD, card)
        self.boot()
        self.settle()
        return self.answer()

    def power_off(self) -> None:
        """Shut the Pi down."""
        self.pi.run(["systemctl", "--no-block", "poweroff"])
        self.pi.wait_for(lambda: not self.pi.is_on, BOOT_SECONDS, "did not power off", powered=False)

    def settle(self) -> str:
        """Wait for the end of the boot, and return systemd's state: running, or degraded."""
        return self.pi.run(
            ["systemctl", "is-system-running", "--wait"], check=False, timeout=BOOT_SECONDS
        ).stdout.strip()

    def failed(self) -> list[str]:
        """Return the failed units."""
        text = self.pi.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
        return [line.split()[0] for line in text.splitlines()]

    def answer(self) -> str:
        """Return the answer on the site partition."""
        return self.pi.file_on_card(ANSWER).removeprefix("\ufeff")

    def doctor(self) -> str:
        """Return what `smart-meter doctor` shows."""
        return self.pi.run(["smart-meter", "doctor"], check=False).stdout

    def play(self, playbook: str, *arguments: str) -> int:
        """Play a playbook, and return how many tasks have changed something."""
        played = self.controller.playbook(playbook, "--diff", *arguments)
        print(played.output)
        assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
        return played.count(NAME, "changed")

    def digests(self) -> str:
        """Return the SHA-256 of each file below /etc."""
        listed = "find /etc -xdev -type f -exec sha256sum {} + | sort -k2"
        return self.pi.run(["sh", "-c", listed]).stdout


@contextmanager
def site(lab_name: str, image: Path, field: Mapping[str, Any] = FIELD, **variables: object) -> Iterator[Site]:
    """Make a site whose Pi is off, with the image on its card and no site card yet.

    field: variables of the site, such as its field network. variables: those of the Pi.
    """
    with Lab(lab_name) as lab:
        controller = Controller(lab, field)
        controller.secrets["vault_become_password"] = lab.password
        key = lab.ssh_key.with_suffix(".pub").read_text().strip()
        controller.hosts[NAME] = {"site_card_keys": [key], **variables}
        controller.write()
        folder = places.pi_disk(lab.name, NAME)
        folder.mkdir(parents=True)
        card = folder / "card.img"
        flash(image, card)
        yield Site(lab, ImagePi(lab, NAME, card), controller)


def flash(image: Path, card: Path) -> None:
    """Write an image to a card of 4 GiB."""
    with card.open("wb") as file:
        subprocess.run(["xz", "--decompress", "--stdout", image], check=True, stdout=file)
    os.truncate(card, CARD)
