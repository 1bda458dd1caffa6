"""A card that playbooks/files.yml prepares before the Pi's first boot: nothing is left to change."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.controller import Controller
from tests.integration.pi_story import NAME, Story
from tests.virtual_pi import Lab

pytestmark = pytest.mark.pi

# What a role might change on the machine that prepares the card.
_OF_THIS_MACHINE = (
    # Without counters.
    "nft --stateless list ruleset; iptables -S; ip6tables -S",
    "hostname; cat /etc/hostname /etc/hosts; readlink /etc/localtime",
    # Those of single interfaces come and go with other labs.
    "sysctl --all --pattern '^net[.]ipv[46][.](ip_forward|conf[.](all|default)[.]|icmp)' 2> /dev/null",
    "ls /etc/systemd/system /etc/ufw /etc/sysctl.d /usr/local/sbin 2>&1",
)


@dataclass(frozen=True)
class Offline:
    """The Pi whose card was prepared, what the playbook printed, and this machine before and after."""

    story: Story
    prepared: subprocess.CompletedProcess[str]
    before: list[str]
    after: list[str]


def this_machine() -> list[str]:
    outputs = [
        subprocess.run(["sh", "-c", command], capture_output=True, check=False).stdout
        for command in _OF_THIS_MACHINE
    ]
    return [hashlib.sha256(output).hexdigest() for output in outputs]


@pytest.fixture(scope="module")
def offline() -> Iterator[Offline]:
    with Lab("offline") as lab:
        controller = Controller(lab)
        before = this_machine()
        pi, prepared = lab.prepare(
            NAME,
            lambda root: _files_playbook(controller, str(root)),
            timeout=600,
            env=controller.environment,
            cwd=controller.repository,
        )
        yield Offline(Story(lab, pi, controller), prepared, before, this_machine())


def _files_playbook(controller: Controller, root: str) -> list[str]:
    # The card has no address yet.
    controller.secrets["vault_become_password"] = controller.lab.password
    controller.hosts[NAME] = {}
    controller.write()
    return controller.command("files.yml", "-e", f"files_root={root}")


def test_the_files_halves_work_in_a_root_without_a_running_system(offline: Offline) -> None:
    assert offline.prepared.returncode == 0, offline.prepared.stdout + offline.prepared.stderr


def test_they_leave_the_machine_that_prepares_it_as_it_is(offline: Offline) -> None:
    assert offline.before == offline.after


def test_the_pi_serves_after_its_first_boot(offline: Offline) -> None:
    story = offline.story
    story.pi.switch_on()
    story.serves_within(60)
    assert story.pi.run(["hostname"]).stdout.strip() == NAME


def test_site_finds_nothing_to_change(offline: Offline) -> None:
    story = offline.story
    played = story.controller.playbook("site.yml", "--diff")
    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    assert played.count(NAME, "changed") == 0, played.output


def test_verify_finds_nothing_bad(offline: Offline) -> None:
    played = offline.story.controller.playbook("verify.yml")
    assert "BAD" not in played.output
