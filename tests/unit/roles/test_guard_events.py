"""What smart-meter-guard and activate.sh add to the audit trail, and that no change depends on it."""

from __future__ import annotations

import fcntl
import re
import time
from pathlib import Path

import pytest
from tests.unit.roles.guarded import GUARD, Machine

from smart_meter.cli.commands.events_add import MAX_WAITING
from smart_meter.log.audit.kinds import BY_ROOT, Kind


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_confirmation_is_an_event(machine: Machine) -> None:
    machine.begin()

    machine.guard("confirm", "configuration")

    assert machine.noted() == [("configuration", "the change was confirmed")]
    assert machine.events.stat().st_mode & 0o777 == 0o600
    assert machine.sent() == 1


def test_a_rollback_is_an_event(machine: Machine) -> None:
    machine.begin()

    machine.guard("roll_back", "configuration")

    assert machine.changed.read_text() == "old"
    assert machine.noted() == [("rollback", "configuration was not confirmed: rolled back")]
    assert machine.sent() == 1
    machine.guard("roll_back", "configuration")
    assert len(machine.noted()) == 1, "an event without a change"


def test_at_boot_the_event_waits_for_the_service(machine: Machine) -> None:
    machine.begin()

    machine.guard("boot")

    assert machine.changed.read_text() == "old"
    text = "configuration was not confirmed before the power went: rolled back"
    assert machine.noted() == [("rollback", text)]
    assert machine.sent() == 0


def test_every_change_that_the_guard_knows_is_a_kind_of_root() -> None:
    [names] = re.findall(r"^ +((?:\w+ \| )+\w+)\) ;;$", GUARD.read_text(encoding="utf-8"), re.MULTILINE)

    # The guard adds a change of sshd's settings as one of the configuration.
    assert {Kind(name) for name in names.split(" | ") if name != "ssh"} < BY_ROOT


@pytest.mark.parametrize("release", ["sleep 60", "exit 2", "kill -9 $$"])
def test_a_release_that_can_not_take_events_delays_nothing(machine: Machine, release: str) -> None:
    machine.smart_meter(release)
    began = time.monotonic()

    machine.begin()
    machine.guard("confirm", "configuration")
    machine.begin()
    machine.guard("roll_back", "configuration")

    assert time.monotonic() - began < 15
    assert machine.changed.read_text() == "old"
    assert [kind for kind, _ in machine.noted()] == ["configuration", "rollback"]


def test_without_a_release_events_wait(machine: Machine) -> None:
    (machine.folder / "bin/smart-meter").unlink()

    machine.begin()
    machine.guard("confirm", "configuration")

    assert len(machine.noted()) == 1


@pytest.mark.parametrize("trouble", ["folder", "locked", "full"])
def test_a_file_that_can_not_be_written_stops_no_rollback(machine: Machine, trouble: str) -> None:
    machine.begin()
    if trouble == "folder":
        machine.events.mkdir()
    else:
        machine.events.write_text("x" * MAX_WAITING if trouble == "full" else "")
    with (machine.folder / "calls" if trouble == "folder" else machine.events).open() as file:
        if trouble == "locked":
            fcntl.flock(file, fcntl.LOCK_EX)
        machine.guard("roll_back", "configuration")

    assert machine.changed.read_text() == "old"
    if trouble != "folder":
        assert machine.events.stat().st_size == (MAX_WAITING if trouble == "full" else 0)


@pytest.mark.parametrize("kind", ["release", "rollback"])
def test_another_release_is_an_event_with_both(machine: Machine, kind: str) -> None:
    machine.activate("1.1", kind)

    assert machine.noted() == [(kind, "from 1.0 to 1.1")]
    assert machine.sent() == 1
    calls = machine.calls.read_text()
    assert calls.index("events send-waiting") < calls.index("systemctl restart"), "the old release ran then"


def test_a_guard_of_an_older_release_stops_no_activation(machine: Machine) -> None:
    old = "case $1 in rearm) ;; *) echo usage >&2; exit 2 ;; esac"
    machine.program(machine.folder / "bin/smart-meter-guard", old)

    machine.activate("1.1", "release")

    assert "systemctl restart smart-meter.service" in machine.calls.read_text()


def test_the_usage_names_every_command(machine: Machine) -> None:
    done = machine.run("smart-meter-guard")

    assert done.returncode == 2
    assert "smart-meter-guard note KIND TEXT" in done.stderr
    assert "set -eu" not in done.stderr
