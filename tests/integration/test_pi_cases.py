"""Cases that take minutes, on a fresh Pi. In the order of the file; `make test-cases` runs them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.controller import ADDRESS
from tests.integration.pi_oddities import dpkg_locked, no_way_to_packages
from tests.integration.pi_story import NAME, Story, fresh_pi

pytestmark = [pytest.mark.pi, pytest.mark.cases]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with fresh_pi("cases") as story:
        yield story


def test_a_fresh_pi_without_a_way_to_the_packages_is_reported_soon(story: Story) -> None:
    began = time.monotonic()
    with no_way_to_packages(story.pi):
        played = story.controller.playbook("site.yml", check=False)

    assert time.monotonic() - began < 60
    assert played.count(NAME, "failed") == 1, played.output
    output = " ".join(played.output.split())
    assert "missing packages: " in output
    assert "needs a connection to Debian's packages once" in output


def test_each_tag_installs_what_it_needs_and_waits_for_a_first_boots_upgrade(story: Story) -> None:
    with dpkg_locked(story.pi, seconds=400) as number:
        played = story.controller.playbook("site.yml", "--tags", "network,firewall")

    waited = re.findall(rf"waiting for python3 \(pid {number}\) to release dpkg: (\d+) of", played.output)
    assert int(waited[-1]) > 330
    assert "Status: active" in story.pi.run(["ufw", "status"]).stdout
    story.controller.playbook("site.yml")
    story.serves_within(30)


def test_nothing_cuts_off_a_task_that_is_silent_for_twenty_minutes(story: Story) -> None:
    """A shell of that age is idle and ends; what Ansible waits for is not."""
    story.controller.playbook("site.yml")
    silent = {"name": "Keep silent", "ansible.builtin.command": "sleep 1200"}
    play = {"name": "Silence", "hosts": "smart_meters", "gather_facts": False, "tasks": [silent]}
    path = story.lab.folder / "silence.yml"
    path.write_text(json.dumps([play]))
    *options, target = story.lab.ssh(story.pi, address=ADDRESS)

    with story.lab.popen("control", [*options, "-tt", target]) as idle:
        played = story.controller.playbook(str(path), timeout=1300)
        assert idle.poll() is not None, "the idle shell has not ended"

    assert played.count(NAME, "changed") == 1, played.output
    assert re.search(r"still running after 114\d s: Keep silent: pi-north", played.output), played.output
