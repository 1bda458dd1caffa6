"""Cards of each kind that playbooks/files.yml prepares before the first boot: nothing is left to change."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.controller import Controller
from tests.integration.pi_story import NAME, Story
from tests.virtual_pi import BOOKWORM, IMAGER, PLAIN, Kind, Lab, places

pytestmark = pytest.mark.pi

_LAB = "offline"
# What a role might change on the machine that prepares the card.
_OF_THIS_MACHINE = (
    # Without counters.
    f"nft --stateless list table ip {places.nft_table(_LAB)}",
    # Those of other labs come and go.
    f"nft list tables | grep -v {places.nft_table('')}"
    " | while read -r _ table; do nft --stateless list table $table; done; iptables -S; ip6tables -S",
    "hostname; cat /etc/hostname /etc/hosts; readlink /etc/localtime",
    # Those of single interfaces come and go with other labs.
    "sysctl --all --pattern '^net[.]ipv[46][.](ip_forward|conf[.](all|default)[.]|icmp)' 2> /dev/null",
    "ls /etc/systemd/system /etc/ufw /etc/sysctl.d /usr/local/bin /usr/local/sbin 2>&1",
)
# What cloud-init sets at the first boot, after the card was prepared: the time zone in Imager's user-data.
_BROUGHT_BY_THE_FIRST_BOOT = {IMAGER: ["appliance : Files | Write the others that differ"]}


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


@pytest.fixture(scope="module", params=[PLAIN, IMAGER, BOOKWORM], ids=lambda kind: kind.name)
def offline(request: pytest.FixtureRequest) -> Iterator[Offline]:
    """One kind of Pi after the other: each runs all of the tests below, in their order."""
    kind: Kind = request.param
    with Lab(_LAB) as lab:
        controller = Controller(lab)
        before = this_machine()
        pi, prepared = lab.prepare(
            NAME,
            lambda root: _files_playbook(controller, kind, str(root)),
            kind=kind,
            timeout=600,
            env=controller.environment,
            cwd=controller.repository,
        )
        yield Offline(Story(lab, pi, controller), prepared, before, this_machine())


def _files_playbook(controller: Controller, kind: Kind, root: str) -> list[str]:
    # The card has no address yet.
    controller.secrets["vault_become_password"] = controller.lab.password
    controller.hosts[NAME] = {} if kind.user == PLAIN.user else {"ansible_user": kind.user}
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
    story.lab.wait_until_configured(story.pi)
    assert story.pi.run(["hostname"]).stdout.strip() == NAME


def test_site_only_changes_what_the_first_boot_has_brought(offline: Offline) -> None:
    story = offline.story
    played = story.controller.playbook("site.yml", "--diff")
    assert played.count(NAME, "failed") == played.count(NAME, "unreachable") == 0
    assert played.count(NAME, "changed") == len(played.changed_tasks(NAME))
    assert played.changed_tasks(NAME) == _BROUGHT_BY_THE_FIRST_BOOT.get(story.pi.kind, []), played.output


def test_verify_finds_nothing_bad(offline: Offline) -> None:
    played = offline.story.controller.playbook("verify.yml")
    assert "BAD" not in played.output
