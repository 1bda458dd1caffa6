"""A Pi with `concentrator_port_binding: socket`. The tests run in the order of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from tests.controller import ADDRESS, REPOSITORY, Played
from tests.integration.pi_story import EXAMPLE, NAME, Story, fresh_pi

pytestmark = pytest.mark.pi

CONFIG = "/etc/smart-meter/config.toml"
WAITING, FRESH, STALE, RESTORED = range(4)
SOCKET = "smart-meter.socket"
PORT_FILE = "/etc/authbind/byport/502"
GOLDEN = REPOSITORY / "tests/unit/roles/golden/default/etc/systemd/system"
# Those that stay, and have no file of their own to write.
ROOTS_UNITS = ("smart-meter-led.service", "smart-meter-wifi.service")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """A Pi with a stricter umask."""
    with fresh_pi("socket", {"concentrator_port_binding": "socket"}) as story:
        story.pi.run(["tee", "--append", "/etc/login.defs"], stdin="UMASK 027\nUSERGROUPS_ENAB no\n")
        yield story


def meters(**p_ac: Any) -> list[dict[str, Any]]:
    """Return the role's default meter with changed settings of its first measurement, and a second meter."""
    defaults = yaml.safe_load((REPOSITORY / "roles/concentrator/defaults/main.yml").read_text())
    [meter] = defaults["concentrator_meters"]
    first, *others = meter["measurements"]
    level = {"name": "Level", "address": 0, "type": "float32", "sentinel": float("nan")}
    return [
        {**meter, "measurements": [{**first, **p_ac}, *others]},
        {"name": "tank", "unit_id": 2, "on_stale": "sentinel", "measurements": [level]},
    ]


def redeploy(story: Story, **variables: Any) -> Played:
    return story.controller.playbook("site.yml", "--tags", "concentrator", "-e", json.dumps(variables))


def exposure(story: Story) -> float:
    output = story.pi.run(["systemd-analyze", "security", "--no-pager", "smart-meter.service"]).stdout
    found = re.search(r"Overall exposure level for smart-meter.service: ([\d.]+)", output)
    assert found, output
    return float(found[1])


def main_process(story: Story) -> str:
    return story.pi.run(["systemctl", "show", "--property=MainPID", "--value", "smart-meter"]).stdout.strip()


def status_of(story: Story, names: set[str]) -> dict[str, int]:
    """Return hexadecimal fields of the service's /proc/PID/status."""
    text = story.pi.run(["cat", f"/proc/{main_process(story)}/status"]).stdout
    fields = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    return {name: int(fields[name], 16) for name in names}


def sequence_number(block: list[int]) -> int:
    return block[10] << 16 | block[11]


def test_every_user_can_run_the_release_despite_a_strict_umask(story: Story) -> None:
    story.controller.playbook("site.yml")

    as_root = story.controller.ssh(story.pi, f"echo {story.pi.password} | sudo --stdin sh -c umask")
    assert as_root.stdout == "0027\n"
    closed = ["find", "/opt/smart-meter", "!", "-perm", "-o=r", "-o", "-type", "d", "!", "-perm", "-o=x"]
    assert story.pi.run(closed).stdout == ""
    for command in ("smart-meter", f"echo {story.pi.password} | sudo --stdin smart-meter"):
        version = story.controller.ssh(story.pi, f"{command} --version")
        assert version.returncode == 0, version.stderr


def test_on_a_fresh_pi_systemd_opens_the_port(story: Story) -> None:
    listening = story.pi.run(["ss", "-H", "-ltnp", "sport = :502"]).stdout
    assert re.search(r"LISTEN\s+0\s+4096\s+0\.0\.0\.0:502", listening), "the backlog is too small"
    assert '("systemd",pid=1,' in listening
    assert story.pi.run(["systemctl", "is-enabled", SOCKET]).stdout == "enabled\n"
    assert story.write("field", *EXAMPLE).returncode == 0
    assert story.read("control") == EXAMPLE


def test_authbind_is_not_removed_but_permits_no_user_to_bind_the_port(story: Story) -> None:
    assert story.pi.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", "authbind"]).stdout == "installed"
    assert story.pi.run(["ls", "/etc/authbind/byport"]).stdout == ""


def test_the_service_has_no_privileges_and_can_not_gain_any(story: Story) -> None:
    sets = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}

    found = status_of(story, sets | {"NoNewPrivs", "Seccomp"})

    assert {name: found[name] for name in sets} == dict.fromkeys(sets, 0)
    assert (found["NoNewPrivs"], found["Seccomp"]) == (1, 2)


def test_the_service_can_write_nothing_in_run_but_its_own_folder(story: Story) -> None:
    inside = ["nsenter", f"--target={main_process(story)}", "--mount"]

    # Root, so that nothing but the mount refuses it.
    other = story.pi.run([*inside, "touch", "/run/other"], check=False)
    own = story.pi.run([*inside, "touch", "/run/smart-meter/own"], check=False)

    assert "Read-only file system" in other.stderr
    assert (own.returncode, own.stderr) == (0, "")
    story.pi.run(["rm", "/run/smart-meter/own"])


@pytest.mark.parametrize("unit", ROOTS_UNITS)
@pytest.mark.parametrize("path", ["/run/other", "/etc/other"])
def test_a_unit_of_root_writes_nothing_that_is_not_its_task(story: Story, unit: str, path: str) -> None:
    lines = (GOLDEN / unit).read_text().splitlines()
    options = ("Protect", "Private", "Restrict", "ReadOnlyPaths", "CapabilityBoundingSet", "NoNewPrivileges")
    sandbox = [f"--property={line}" for line in lines if line.startswith(options)]
    command = ["systemd-run", "--quiet", "--wait", "--pipe", *sandbox]

    written = story.pi.run([*command, "sh", "-c", f"echo 0 > {path}"], check=False)

    assert "Read-only file system" in written.stderr


def add_event(story: Story, kind: str, text: str, user: str = "root") -> CompletedProcess[str]:
    """Run `smart-meter events add` as a user."""
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    command = ["/opt/smart-meter/current/bin/smart-meter", "events", "add", kind, text]
    return story.pi.run([*as_user, *command], check=False)


def test_the_first_changes_of_network_and_firewall_are_events(story: Story) -> None:
    """They were made before the service ran for the first time."""
    for kind in ("network", "firewall"):
        [text] = story.events(kind)
        assert text.startswith("the change was confirmed"), text
    assert (
        story.pi.run(["stat", "-c", "%s %a %U", "/var/lib/smart-meter-guard/events"]).stdout == "0 600 root\n"
    )


def test_only_root_may_add_events(story: Story) -> None:
    done = add_event(story, "network", "the switch was replaced")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    story.pi.wait_for(
        lambda: "the switch was replaced" in story.events("network"), 20, "has not got the event"
    )
    other = add_event(story, "network", "forged", user="pi")
    own = add_event(story, "network", "forged", user="smart-meter")
    assert (other.returncode, other.stderr) == (1, "smart-meter: only root may add events; use sudo\n")
    assert (own.returncode, own.stderr) == (1, "smart-meter: the service accepts events only from root\n")
    assert "forged" not in story.journal()


def test_a_rollback_while_the_service_does_not_run_is_an_event_once_it_runs(story: Story) -> None:
    """As after a power cut, when the guard runs before the service."""
    story.pi.run(["smart-meter-guard", "begin", "firewall", "600", "/etc/ufw", "/etc/default/ufw"])
    story.pi.run(["systemctl", "stop", SOCKET, "smart-meter.service"])
    story.pi.run(["smart-meter-guard", "boot"])

    story.pi.run(["systemctl", "start", SOCKET, "smart-meter.service"])

    [text] = story.events("rollback")
    assert text.startswith("firewall was not confirmed before the power went: rolled back")
    assert story.pi.run(["cat", "/var/lib/smart-meter-guard/events"]).stdout == ""
    story.pi.run(["systemctl", "stop", "smart-meter-guard@firewall.timer"])


def test_the_unit_keeps_a_third_network_out_without_the_firewall(story: Story) -> None:
    address = story.pi.uplink_address
    story.pi.run(["ufw", "disable"])
    try:
        stranger = story.mbpoll("stranger", "-r", "0", "-c", "8", address)
        assert story.read("control") == EXAMPLE
    finally:
        story.pi.run(["ufw", "--force", "enable"])
    assert stranger.returncode != 0
    assert "Connection failed" in stranger.stdout + stranger.stderr


def test_a_restart_does_not_lose_a_connection_attempt(story: Story) -> None:
    before = main_process(story)

    with ExitStack() as stack:
        crowd = [stack.enter_context(story.opta("reconnect")) for _ in range(4)]
        for _ in range(5):
            story.pi.run(["systemctl", "restart", "smart-meter"])

    assert main_process(story) != before
    assert min(reads.times for reads in crowd) > 20
    assert [reads.lost for reads in crowd] == [[]] * len(crowd)


def test_a_killed_service_leaves_the_port_open(story: Story) -> None:
    story.pi.run(["systemctl", "kill", "-s", "KILL", "smart-meter"])

    # A client that connects now waits until the service is back.
    assert story.mbpoll("control", "-r", "0", "-c", "8", ADDRESS).returncode == 0


NO_AGE = 0xFFFF_FFFF


@contextmanager
def silent_when_stale(story: Story) -> Iterator[None]:
    """Set on_stale = "exception" for the first meter: reads of stale values get exception 0B."""
    good = story.pi.run(["cat", CONFIG]).stdout
    changed = re.sub(r'^name = "pv"$', r'\g<0>\non_stale = "exception"', good, flags=re.MULTILINE)
    assert changed != good
    story.pi.run(["cp", "/dev/stdin", CONFIG], stdin=changed)
    story.pi.run(["systemctl", "reload", "smart-meter"])
    try:
        yield
    finally:
        story.pi.run(["cp", "/dev/stdin", CONFIG], stdin=good)
        story.pi.run(["systemctl", "reload", "smart-meter"])


def kill_and_read(story: Story) -> list[int]:
    """Kill the service right after a sample; return the status block after the restart.

    The values must be served again at once, without an exception, and the sample must be a row soon.
    """
    stored = len(history(story))
    assert story.write("field", *EXAMPLE).returncode == 0
    before = main_process(story)
    story.pi.run(["systemctl", "kill", "-s", "KILL", "smart-meter"])
    story.pi.wait_for(lambda: main_process(story) not in ("0", before), 20, "does not run again")
    story.pi.wait_for(lambda: bool(story.pi.run(["ss", "-Hltn", "sport = :502"]).stdout), 20, "is not there")
    assert story.read("control") == EXAMPLE, "probably exception 0B"
    story.pi.wait_for(lambda: len(history(story)) > stored, 10, "has lost the sample")
    return story.status_block()


def test_after_a_kill_the_values_are_restored_with_their_age(story: Story) -> None:
    with silent_when_stale(story):
        block = kill_and_read(story)

    assert block[1] == RESTORED
    assert 0 <= age(block) < 60
    assert "[RESTORED] pv: the last values from before the start, of unknown age" not in story.journal()


def age(block: list[int]) -> int:
    return block[2] << 16 | block[3]


def test_the_status_block_can_be_read_from_the_control_zone(story: Story) -> None:
    assert story.write("field", *EXAMPLE).returncode == 0

    layout, state, age_high, age_low, received_high, received_low, *_ = story.status_block()

    assert (layout, state) == (1, FRESH)
    assert (age_high << 16 | age_low) < 30
    assert (received_high << 16 | received_low) == 1


def test_a_new_scale_applies_without_losing_a_connection_or_a_value(story: Story) -> None:
    before, process = story.status_block(), main_process(story)
    changed = meters(scale=10, minimum=0, maximum=6000)
    story.controller.site["concentrator_meters"] = changed
    story.controller.write()

    with story.opta("hold") as reads:
        played = redeploy(story)
        assert story.read("control") == ["2500", *EXAMPLE[1:]], "not 250 W in the new scale"
        assert story.write("field", *EXAMPLE).returncode == 0

    assert played.count(NAME, "failed") == 0
    assert "Restart the concentrator" not in changed_tasks(played)
    assert main_process(story) == process
    assert reads.times > 20
    assert reads.lost == []
    assert any("P_ac=25.0W P_dc=260.0W" in line for line in story.journal().splitlines())
    tank = story.mbpoll("control", "-a", "2", "-t", "4:float", "-B", "-r", "0", ADDRESS)
    assert re.search(r"^\[0\]:\s+-?nan$", tank.stdout, re.MULTILINE), tank.stdout + tank.stderr
    after = story.status_block()
    assert after[8:10] != before[8:10], "the fingerprint did not change"
    assert sequence_number(after) == sequence_number(before) + 1


def changed_tasks(played: Played) -> list[str]:
    """Return the names of the tasks and handlers that changed something."""
    parts = re.split(r"^(?:TASK|RUNNING HANDLER) \[(?:[^\]]* : )?([^\]]*)\] \*+$", played.output, flags=re.M)
    return [
        name for name, text in zip(parts[1::2], parts[2::2], strict=True) if re.search("^changed", text, re.M)
    ]


def test_the_acceptance_shows_who_opened_the_port_and_the_exposure(story: Story) -> None:
    played = story.controller.playbook("verify.yml")

    assert "BAD" not in played.output
    assert re.search(r"ok\s+port 502\s+opened by systemd", played.output)
    assert re.search(r"ok\s+who may take port 502\s+nobody by authbind", played.output)
    assert re.search(r"ok\s+configuration\s+as in the inventory", played.output), "not the reloaded one"
    found = re.search(r"ok\s+exposure by systemd-analyze security\s+([\d.]+)", played.output)
    assert found
    assert float(found[1]) <= 1.2
    assert re.search(r"ok\s+doctor: unit file\s+as the service was started", played.output)
    assert re.search(r"ok\s+doctor: reverse path filter\s+strict", played.output)
    assert not re.search(r"(ok|WARN|\?)\s+(service|journal|source routes) ", played.output)


def test_a_pi_without_a_doctor_is_judged_by_the_controller(story: Story) -> None:
    no_doctor = ("-e", '{"__verify_program": "/bin/true"}')

    good = story.controller.playbook("verify.yml", *no_doctor)
    story.pi.run(["systemctl", "stop", "smart-meter"])
    try:
        bad = story.controller.playbook("verify.yml", *no_doctor, check=False)
    finally:
        story.pi.run(["systemctl", "start", "smart-meter"])

    assert re.search(r"\?\s+doctor\s+no answer", good.output)
    for line in (
        r"service\s+active, \d+ restarts",
        r"running release and configuration\s+as written",
        r"files of the release\s+whole",
        r"history\s+kept",
        r"listener on port 502\s+open",
        r"journal\s+on the card",
        r"source routes\s+refused",
        r"reverse path filter\s+strict",
    ):
        assert re.search(rf"ok\s+{line}", good.output), good.output
    assert "BAD" not in good.output
    assert bad.returncode != 0
    assert re.search(r"BAD\s+service\s+inactive", bad.output)


def test_a_refused_configuration_leaves_the_old_one_running_and_logs_the_reason(story: Story) -> None:
    good = story.pi.run(["cat", CONFIG]).stdout
    story.pi.run(["sed", "-i", 's/^type = "timestamp"/type = "timestmap"/', CONFIG])

    try:
        with story.opta("hold") as reads:
            refused = story.pi.run(["systemctl", "reload", "smart-meter"], check=False)
            assert story.read("control") == EXAMPLE
    finally:
        story.pi.run(["cp", "/dev/stdin", CONFIG], stdin=good)

    assert refused.returncode != 0
    assert reads.lost == []
    reason = f'{CONFIG}: meters[0].measurements[6].type: "timestmap" is unknown'
    assert any(line.startswith(reason) for line in story.journal().splitlines())
    story.pi.run(["systemctl", "reload", "smart-meter"])


def test_the_history_and_the_last_values_survive_a_power_cut(story: Story) -> None:
    stored = len(history(story))
    assert story.write("field", *EXAMPLE).returncode == 0
    before = sequence_number(story.status_block())
    story.pi.wait_for(lambda: len(history(story)) > stored, 45, "has not written the sample to the card")

    story.pi.power_cut()
    story.pi.power_on()
    story.pi.wait_until_running(60)
    story.serves_within(30)

    assert story.read("control") == EXAMPLE
    block = story.status_block()
    # A power cut skips the numbers that were reserved, so that none repeats.
    number = sequence_number(block)
    assert (block[1], number > before) == (RESTORED, True)
    assert age(block) == NO_AGE, "an age although no clock measured the outage"
    assert len(history(story)) == stored + 1
    assert story.write("field", *EXAMPLE).returncode == 0
    block = story.status_block()
    assert (block[1], sequence_number(block)) == (FRESH, number + 1)


def history(story: Story) -> list[str]:
    """Return the rows that `smart-meter history` prints."""
    command = ["/opt/smart-meter/current/bin/smart-meter", "history", "--config", CONFIG, "--format", "csv"]
    return story.pi.run(command).stdout.splitlines()[1:]


def test_after_a_change_to_authbind_nothing_is_left_of_the_socket(story: Story) -> None:
    del story.controller.site["concentrator_port_binding"]
    story.controller.write()

    redeploy(story)

    assert story.read("control") == EXAMPLE
    assert story.pi.run(["systemctl", "list-unit-files", SOCKET, "--no-legend"], check=False).stdout == ""
    assert "systemd" not in story.pi.run(["ss", "-H", "-ltnp", "sport = :502"]).stdout
    assert story.pi.run(["stat", "-c", "%U %a", PORT_FILE]).stdout == "smart-meter 500\n"
    assert exposure(story) <= 1.5
    assert add_event(story, "network", "with authbind, too").returncode == 0
    story.pi.wait_for(lambda: "with authbind, too" in story.events("network"), 20, "has not got the event")
    assert redeploy(story).count(NAME, "changed") == 0


def test_after_a_kill_with_authbind_the_values_are_restored_with_their_age(story: Story) -> None:
    with silent_when_stale(story):
        block = kill_and_read(story)

    assert block[1] == RESTORED
    assert 0 <= age(block) < 60


def test_the_port_can_be_changed_back_to_systemd(story: Story) -> None:
    story.controller.site["concentrator_port_binding"] = "socket"
    story.controller.write()

    redeploy(story)

    assert story.read("control") == EXAMPLE
    assert '("systemd",pid=1,' in story.pi.run(["ss", "-H", "-ltnp", "sport = :502"]).stdout
    assert story.pi.run(["ls", "/etc/authbind/byport"]).stdout == ""
    assert exposure(story) <= 1.2
    assert redeploy(story).count(NAME, "changed") == 0
