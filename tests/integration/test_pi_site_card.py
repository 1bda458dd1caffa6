"""A Pi with an image's files and a site card: it serves, and site.yml finds nothing to change."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from smart_meter.site_card.card import Card, read, render
from smart_meter.site_card.record import PATH as RECORD
from tests.controller import Controller
from tests.integration.pi_story import NAME, Story
from tests.virtual_pi import Lab

pytestmark = pytest.mark.pi

_CARD = "/boot/firmware/site-card.toml"
_ANSWER = "/boot/firmware/site-card-answer.txt"
_UNIT = "smart-meter-site-card.service"
# What an image is before a site card describes its site (tools/image/inventory).
_IMAGE = "smart-meter"
_OF_AN_IMAGE: dict[str, Any] = {
    "network_field_address": "192.168.1.77/24",
    "network_control_address": "192.168.2.77/24",
    "concentrator_name": "image",
    "preflight_sudo_asks": False,
}


@dataclass(frozen=True)
class Carded:
    """The Pi, and the run that prepared its root file system."""

    story: Story
    prepared: subprocess.CompletedProcess[str]

    def make(self, *arguments: str) -> Path:
        """Make the card of the inventory as it is now."""
        return make_card(self.story.controller, *arguments)

    def put(self, content: bytes) -> None:
        """Put a card on the boot partition and restart the Pi."""
        pi = self.story.pi
        pi.path(_CARD).write_bytes(content)
        pi.reboot()
        self.story.serves_within(60)

    def start(self) -> bool:
        """Apply the card without a restart; return whether it was not refused."""
        return self.story.pi.run(["systemctl", "start", _UNIT], check=False).returncode == 0

    def journal(self) -> str:
        """Return what the unit has logged since the boot."""
        return self.story.pi.run(["journalctl", "-b", "-u", _UNIT, "-o", "cat", "--no-pager"]).stdout

    def card(self) -> Card:
        """Return the card that was made last."""
        return read(card_of(self.story.controller).read_bytes())

    def settings(self) -> dict[str, bytes]:
        """Return the files that a card writes, and the record of the last one."""
        pi = self.story.pi
        paths = [*json.loads(pi.path(RECORD).read_text())["files"], RECORD, "/etc/shadow", "/etc/passwd"]
        return {path: pi.path(path).read_bytes() for path in paths if pi.path(path).exists()}

    def answer(self) -> str:
        """Return the answer on the boot partition."""
        return self.story.pi.path(_ANSWER).read_bytes().decode("utf-8-sig")


def make_card(controller: Controller, *arguments: str) -> Path:
    folder = card_of(controller).parent.parent
    controller.playbook("site_card.yml", "--limit", NAME, "-e", f"site_card_folder={folder}", *arguments)
    return card_of(controller)


def card_of(controller: Controller) -> Path:
    return controller.lab.folder / "cards" / NAME / "site-card.toml"


@pytest.fixture(scope="module")
def carded() -> Iterator[Carded]:
    with Lab("site_card") as lab:
        controller = Controller(lab)
        controller.secrets["vault_become_password"] = lab.password
        key = lab.ssh_key.with_suffix(".pub").read_text().strip()
        controller.hosts[NAME] = {"site_card_keys": [key]}
        controller.write()
        card = make_card(controller)
        controller.hosts = {_IMAGE: _OF_AN_IMAGE}
        controller.write()

        def prepare(root: Path) -> list[str]:
            files = controller.command("files.yml", "-e", f"files_root={root}")
            copy = 'mkdir -p "$1/boot/firmware" && cp "$2" "$1/boot/firmware/site-card.toml"'
            return ["sh", "-ec", f'{copy} && shift 2 && exec "$@"', "sh", str(root), str(card), *files]

        pi, prepared = lab.prepare(
            NAME, prepare, timeout=600, env=controller.environment, cwd=controller.repository
        )
        controller.hosts = {NAME: {"site_card_keys": [key]}}
        controller.write()
        yield Carded(Story(lab, pi, controller), prepared)


def test_the_image_is_prepared(carded: Carded) -> None:
    assert carded.prepared.returncode == 0, carded.prepared.stdout + carded.prepared.stderr


def test_the_pi_serves_with_its_card_after_the_first_boot(carded: Carded) -> None:
    story = carded.story
    story.pi.switch_on()
    story.serves_within(60)

    assert story.pi.run(["hostname"]).stdout.strip() == NAME
    assert "was applied" in carded.answer()
    status = ["systemctl", "is-failed", _UNIT]
    assert story.pi.run(status, check=False).stdout.strip() == "inactive"
    # Nothing that it had to run was forbidden by its unit.
    assert f"the card of {NAME} is applied; changes: " in carded.journal()
    assert "takes effect at the next restart" not in carded.journal()
    assert "from the next restart on" not in carded.journal()


def test_the_secrets_are_no_longer_on_the_boot_partition(carded: Carded) -> None:
    assert "password = " not in carded.story.pi.path(_CARD).read_text()


def test_only_root_may_read_what_is_kept_of_the_secrets(carded: Carded) -> None:
    folder = carded.story.pi.path(RECORD).parent

    assert folder.stat().st_mode & 0o777 == 0o700


def test_site_finds_nothing_to_change(carded: Carded) -> None:
    played = carded.story.controller.playbook("site.yml", "--diff")
    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    assert played.count(NAME, "changed") == 0, played.output


def test_verify_and_doctor_find_nothing_bad(carded: Carded) -> None:
    assert "BAD" not in carded.story.controller.playbook("verify.yml").output
    found = carded.story.pi.run(["/opt/smart-meter/current/bin/smart-meter", "doctor"], check=False).stdout
    assert f"last was the card of {NAME}" in found


def test_the_same_card_does_not_undo_configure(carded: Carded) -> None:
    controller = carded.story.controller
    controller.site["concentrator_name"] = "by the inventory"
    controller.write()
    controller.playbook("configure.yml")

    carded.story.pi.reboot()
    carded.story.serves_within(60)

    config = carded.story.pi.path("/etc/smart-meter/config.toml")
    assert 'name = "by the inventory"' in config.read_text()
    found = carded.story.pi.run(["/opt/smart-meter/current/bin/smart-meter", "doctor"], check=False).stdout
    assert "last was the inventory" in found


def test_a_changed_card_reconfigures_the_pi(carded: Carded) -> None:
    controller = carded.story.controller
    controller.site["concentrator_name"] = "by the card"
    controller.site["appliance_timezone"] = "Europe/Berlin"
    controller.write()

    carded.put(make_card(controller).read_bytes())

    assert 'name = "by the card"' in carded.story.pi.path("/etc/smart-meter/config.toml").read_text()
    assert carded.story.pi.run(["date", "+%Z"]).stdout.strip() in ("CET", "CEST")


def test_a_torn_card_changes_nothing_and_gets_an_answer(carded: Carded) -> None:
    before = carded.settings()

    carded.put(card_of(carded.story.controller).read_bytes()[:-100])

    assert "was not copied completely" in carded.answer()
    assert "was not copied completely" in carded.journal()
    assert carded.settings() == before
    failed = ["systemctl", "is-failed", _UNIT]
    assert carded.story.pi.run(failed, check=False).stdout.strip() == "failed"


def test_another_hosts_card_changes_nothing(carded: Carded) -> None:
    before = carded.settings()
    carded.story.pi.path(_CARD).write_text(render(replace(carded.card(), host="pi-other"), []))

    assert not carded.start()

    assert f'"pi-other" is another Pi: this one is {NAME}' in carded.answer()
    assert carded.settings() == before


def test_a_card_with_another_name_gets_an_answer(carded: Carded) -> None:
    pi = carded.story.pi
    pi.path(_CARD).rename(pi.path(f"{_CARD}.txt"))

    assert not carded.start()

    assert '"site-card.toml.txt" is not read' in carded.answer()
    pi.path(f"{_CARD}.txt").unlink()


def test_a_card_with_another_user_is_applied_from_a_read_only_partition(
    carded: Carded,
) -> None:
    story = carded.story
    good = carded.card()
    sshd = good.files["sshd"].replace("AllowUsers pi", "AllowUsers meter")
    other = replace(good, user="meter", files={**good.files, "sshd": sshd})
    story.pi.run(["mount", "-t", "tmpfs", "-o", "mode=700", "boot", "/boot/firmware"])
    story.pi.path(_CARD).write_text(render(other, []))
    story.pi.run(["mount", "-o", "remount,ro", "/boot/firmware"])

    assert carded.start(), carded.journal()

    assert "was applied" in carded.answer()
    assert read(story.pi.path(_CARD).read_bytes()).secrets == {}
    options = story.pi.run(["findmnt", "-no", "VFS-OPTIONS,FS-OPTIONS", "/boot/firmware"]).stdout.split()
    assert [each.split(",")[0] for each in options] == ["ro", "ro"]
    assert "meter" in story.pi.run(["getent", "group", "sudo"]).stdout
    owner = ["stat", "-c", "%U:%G %a", "/home/meter/.ssh/authorized_keys"]
    assert story.pi.run(owner).stdout.strip() == "meter:meter 600"
    assert good.secrets["password"] in story.pi.run(["getent", "shadow", "meter"]).stdout
