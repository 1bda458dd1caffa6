"""The doctor and the real program: its reports on a running and a stopped service."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smart_meter.runtime import state_file
from tests.integration.program import PATIENCE, Program, run
from tests.unit.wire import read, write

CONFIG = """
[server]
port = {port}
[history]
path = "{history}"
[events]
path = "{events}"
"""


def unused_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


class Patient:
    """A running program with its own configuration and runtime folder."""

    def __init__(self, start: Callable[..., Program], folder: Path) -> None:
        self.config = folder / "config.toml"
        self.runtime = folder / "run"
        self.runtime.mkdir()
        self.unused = unused_port()
        self.events = folder / "events.db"
        self.config.write_text(
            CONFIG.format(port=self.unused, history=folder / "history.db", events=self.events)
        )
        # As systemd's unit does before it starts the program.
        (self.runtime / "config.toml").write_bytes(self.config.read_bytes())
        self.program = start(
            *("run", "--trial", "--port", "0", "--config", str(self.config)),
            extra={"RUNTIME_DIRECTORY": str(self.runtime)},
        )
        self.port = self.program.port()
        wait_until(lambda: state_file.read(self.runtime) is not None)

    def doctor(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code, and the checks by name."""
        where = ("--config", str(self.config), "--runtime", str(self.runtime))
        done = run("doctor", "--json", *where, *arguments)
        assert done.stderr == ""
        report = json.loads(done.stdout)
        assert report["layout"] == 2
        return done.returncode, {check["name"]: check for check in report["checks"]}

    def last_events(self) -> list[dict[str, Any]]:
        """Return the events in the doctor's result."""
        where = ("--config", str(self.config), "--runtime", str(self.runtime))
        events: list[dict[str, Any]] = json.loads(run("doctor", "--json", *where).stdout)["events"]
        return events

    def wait_for_peers(self) -> None:
        """Wait until the state file, which is written every few seconds, has both peers."""
        wait_until(
            lambda: bool(
                self.peers and self.peers["ESP32"]["last_received"] and self.peers["OPTA"]["last_served"]
            )
        )

    @property
    def peers(self) -> dict[str, Any]:
        """The peers in the state file."""
        peers: dict[str, Any] = (state_file.read(self.runtime) or {"peers": {}})["peers"]
        return peers


@pytest.fixture
def patient(start: Callable[..., Program], tmp_path: Path) -> Patient:
    return Patient(start, tmp_path)


def test_a_service_with_both_peers_is_healthy(patient: Patient) -> None:
    with patient.program.connect() as client:
        client.ask(write(0))
        client.ask(read(0, 8))
        patient.wait_for_peers()
        code, checks = patient.doctor()

    good = [
        "configuration",
        f"port {patient.port}",
        "ESP32 heard",
        "Opta reading",
        "meter pv, unit 1",
        "history",
    ]
    assert {name: checks[name] for name in good if checks[name]["level"] != "ok"} == {
        "history": checks["history"]
    }
    assert checks["meter pv, unit 1"]["found"].startswith("fresh, last sample ")
    assert checks["ESP32 heard"]["found"].endswith("ago, 1 since the start")
    assert f"(process {patient.program.process.pid})" in checks[f"port {patient.port}"]["found"]
    # Here the history belongs to this user, on a Pi to the service user.
    assert checks["history"]["found"].startswith("its file belongs to ")
    assert checks["field zone, wlan0"]["level"] == "bad", "although this machine is not a Pi"
    assert code == 1


def test_a_missing_peer_is_only_a_warning_shortly_after_the_start(patient: Patient) -> None:
    _, checks = patient.doctor()
    assert checks["Opta reading"]["level"] == "warning"
    assert checks["Opta reading"]["found"].startswith("never since the service started")
    assert checks["meter pv, unit 1"]["found"].startswith("waiting")


def test_the_doctor_and_a_probe_do_not_make_a_peer_look_active(patient: Patient) -> None:
    # In trial mode this machine counts as the Opta, as a controller in the control zone counts as its peer.
    patient.doctor()
    assert run("probe", f"127.0.0.1:{patient.port}").returncode == 1
    probed = time.monotonic()
    wait_until(lambda: (state_file.read(patient.runtime) or {"at": 0})["at"] > probed + 1)
    _, checks = patient.doctor()
    assert checks["Opta reading"]["found"].startswith("never since the service started")
    assert checks["ESP32 heard"]["found"].startswith("never since the service started")


def test_a_configuration_that_is_not_loaded_is_bad(patient: Patient) -> None:
    patient.config.write_text(f"{patient.config.read_text()}\n# changed\n")
    code, checks = patient.doctor()
    assert checks["configuration"]["level"] == "bad"
    assert checks["configuration"]["fix"] == "sudo systemctl reload smart-meter"
    assert code == 1


def test_a_refused_configuration_gives_exit_code_2_and_everything_else_is_still_checked(
    patient: Patient,
) -> None:
    patient.config.write_text("prot = 502\n")
    code, checks = patient.doctor()
    assert code == 2
    assert "prot" in checks["configuration"]["found"]
    assert checks["meter pv, unit 1"]["level"] != "bad", "not checked by the running configuration"


def test_a_stopped_service_is_bad(patient: Patient) -> None:
    assert patient.program.stop()[0] == 0
    assert state_file.read(patient.runtime) is None
    code, checks = patient.doctor()
    assert code == 1
    assert checks["meter pv, unit 1"]["found"].endswith("connection refused")
    assert checks[f"port {patient.unused}"]["found"] == "closed: no process listens"
    assert checks["Opta reading"]["level"] == "unknown"


def test_a_kill_shows_in_the_doctors_result_after_the_next_start(
    patient: Patient, start: Callable[..., Program]
) -> None:
    wait_until(patient.events.exists)
    time.sleep(1)
    patient.program.kill()
    again = start(
        *("run", "--trial", "--port", "0", "--config", str(patient.config)),
        extra={"RUNTIME_DIRECTORY": str(patient.runtime)},
    )
    again.port()
    wait_until(lambda: len(patient.last_events()) == 2)
    _, checks = patient.doctor()
    assert checks["last 24 hours: unclean stops"]["level"] == "warning"
    assert [event["kind"] for event in patient.last_events()] == ["start", "start"]
    # On a Pi it belongs to the service's user.
    assert checks["audit trail"]["found"].startswith("its file belongs to ")


def test_a_killed_service_does_not_look_like_a_running_one(patient: Patient) -> None:
    patient.program.kill()
    assert state_file.read(patient.runtime) is not None
    _, checks = patient.doctor()
    assert checks["Opta reading"]["level"] == "unknown"


def test_the_table_shows_the_fixes(patient: Patient) -> None:
    done = run("doctor", "--config", str(patient.config), "--runtime", str(patient.runtime))
    assert done.returncode == 1
    assert "\nBAD   field zone, wlan0 " in done.stdout
    assert "fix: " in done.stdout
    assert " checks: " in done.stdout.splitlines()[-1]
