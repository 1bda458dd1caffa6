"""The service's units as the role writes them, for either way to the port."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from tests.unit.roles.loaded import ROLES
from tests.unit.roles.site import REPOSITORY

from smart_meter.history.clocks import BOOT_VARIABLE

INTERNAL = REPOSITORY / "roles/concentrator/vars/main.yml"
SERVICE = REPOSITORY / "roles/concentrator/tasks/live.yml"
UNITS = REPOSITORY / "templates/etc/systemd/system"

# What authbind's setuid helper can't work under.
HELPERS_END = {
    "NoNewPrivileges=yes",
    "PrivateUsers=yes",
    "CapabilityBoundingSet=",
    "SystemCallFilter=~@privileged",
}


def templar(systemd: str = "257", **variables: Any) -> Templar:
    """Return what templates with the role's variables."""
    loader = DataLoader()
    known = {
        **ROLES.defaults,
        **loader.load_from_file(str(INTERNAL), trusted_as_template=True),
        "preflight_look": {"systemd_version": int(systemd)},
        "ansible_managed": "Written by a test",
        **variables,
    }
    return Templar(loader, known)


def written(unit: str, *, systemd: str = "257", **variables: Any) -> list[str]:
    """Return a unit's lines, its comments too."""
    source = (UNITS / f"smart-meter.{unit}.j2").read_text(encoding="utf-8")
    text = templar(systemd, **variables).template(
        trust_as_template(source), escape_backslashes=False, overrides={"trim_blocks": True}
    )
    return str(text).splitlines()


def socket_mode(unit: str = "service", **variables: Any) -> list[str]:
    return written(unit, concentrator_port_binding="socket", **variables)


def test_with_a_socket_there_is_no_authbind_and_no_privilege() -> None:
    unit = socket_mode()

    assert "authbind" not in "\n".join(unit)
    assert set(unit) >= HELPERS_END
    assert "Requires=smart-meter.socket" in unit


def test_with_authbind_there_is_nothing_that_stops_its_helper() -> None:
    unit = written("service")

    assert not set(unit) & HELPERS_END
    assert not any("smart-meter.socket" in line for line in unit)


@pytest.mark.parametrize("systemd", ["252", "257"])
def test_where_authbind_needs_its_sandbox_open_the_socket_does_not(systemd: str) -> None:
    closed = "RestrictNamespaces=yes"

    assert closed in socket_mode(systemd=systemd)
    assert (closed in written("service", systemd=systemd)) is (systemd == "257")


@pytest.mark.parametrize("systemd", ["252", "257"])
@pytest.mark.parametrize("binding", ["authbind", "socket"])
def test_the_boot_that_the_sandbox_hides_is_passed(binding: str, systemd: str) -> None:
    unit = written("service", systemd=systemd, concentrator_port_binding=binding)

    assert "ProcSubset=pid" in unit
    assert f"Environment={BOOT_VARIABLE}=%b" in unit


def test_events_of_before_the_start_are_sent_by_root_and_never_fail_the_unit() -> None:
    for unit in (written("service"), socket_mode()):
        [sent] = [line for line in unit if line.startswith("ExecStartPost=")]
        assert sent.startswith("ExecStartPost=-+"), "a failure counts, or the service's user runs it"
        assert sent.endswith("exec timeout 2 /opt/smart-meter/current/bin/smart-meter events send-waiting'")


def test_an_older_systemd_gets_no_directive_that_it_does_not_know() -> None:
    assert "PollLimitBurst=1" in socket_mode("socket")
    assert not any(line.startswith("PollLimit") for line in socket_mode("socket", systemd="252"))


@pytest.mark.parametrize("change", [{"concentrator_host": "192.168.2.100"}, {"concentrator_port": 1502}])
@pytest.mark.parametrize("binding", ["authbind", "socket"])
def test_another_address_or_port_is_another_unit_and_so_a_restart(
    binding: str, change: dict[str, Any]
) -> None:
    def service(**variables: Any) -> list[str]:
        return written("service", concentrator_port_binding=binding, **variables)

    assert service(**change) != service()
    if binding == "socket":
        assert socket_mode("socket", **change) != socket_mode("socket")


@pytest.mark.parametrize(("host", "stream"), [("0.0.0.0", "0.0.0.0:502"), ("::", "[::]:502")])  # noqa: S104
def test_the_socket_listens_where_the_service_would(host: str, stream: str) -> None:
    assert f"ListenStream={stream}" in socket_mode("socket", concentrator_host=host)


def test_the_socket_lets_in_whom_the_service_lets_in() -> None:
    def rules(unit: list[str]) -> list[str]:
        return [line for line in unit if line.startswith("IPAddress")]

    assert rules(socket_mode("socket")) == rules(socket_mode("service")) == rules(written("service"))
    assert rules(socket_mode("socket"))[0] == "IPAddressDeny=any"


def test_a_reload_reads_the_file_that_the_service_started_with() -> None:
    unit = written("service")
    [start] = [line for line in unit if line.startswith("ExecStart=")]
    [reload] = [line for line in unit if line.startswith("ExecReload=")]

    assert start.endswith(" run --config /etc/smart-meter/config.toml")
    assert reload.endswith(" reload --config /etc/smart-meter/config.toml")


@pytest.mark.parametrize(
    ("path", "writable"),
    [
        ("/var/lib/smart-meter/history.db", []),
        ("", []),
        ("/mnt/usb/smart-meter/history.db", ["ReadWritePaths=-/mnt/usb/smart-meter"]),
    ],
)
def test_only_a_history_elsewhere_needs_a_folder_to_write_to(path: str, writable: list[str]) -> None:
    unit = written("service", concentrator_history_path=path)

    assert [line for line in unit if line.startswith("ReadWritePaths=")] == writable


def test_an_audit_trail_elsewhere_may_share_the_historys_folder_or_have_its_own() -> None:
    def writable(**paths: str) -> list[str]:
        return [line for line in written("service", **paths) if line.startswith("ReadWritePaths=")]

    history, events = "/mnt/usb/smart-meter/history.db", "/mnt/usb/smart-meter/events.db"
    one = ["ReadWritePaths=-/mnt/usb/smart-meter"]
    assert writable(concentrator_events_path=events) == one
    assert writable(concentrator_history_path=history, concentrator_events_path=events) == one
    both = writable(concentrator_history_path=history, concentrator_events_path="/srv/audit/events.db")
    assert both == [*one, "ReadWritePaths=-/srv/audit"]


@pytest.mark.parametrize("lines", [0, 2, 500.5])
def test_the_journal_cuts_no_line_that_the_service_may_write(lines: float) -> None:
    unit = written("service", concentrator_lines_per_second=lines)
    [burst] = [int(line.split("=")[1]) for line in unit if line.startswith("LogRateLimitBurst=")]
    peers = 3  # two zones, and the Pi itself
    others = 800  # such as refused requests, each kind limited by itself

    in_30_seconds = 30 * lines * peers
    at_once = 2 * lines * peers
    assert burst >= in_30_seconds + at_once + others


def test_files_of_a_running_service_are_written_over_and_go_with_it_but_samples_stay(tmp_path: Path) -> None:
    places = {"/run/smart-meter": "run", "/etc/systemd/system": "units", "/etc/smart-meter": "etc"}
    places |= {"/opt/smart-meter": "opt"}
    for name in places.values():
        (tmp_path / name).mkdir()
    (tmp_path / "etc/config.toml").write_text("one")
    (tmp_path / "etc/config.toml").chmod(0o440)
    (tmp_path / "units/smart-meter.service").write_text("unit")
    for release in ("1", "2"):
        (tmp_path / "opt" / release).mkdir()
    (tmp_path / "opt/current").symlink_to("1")
    (tmp_path / "run/spool").write_text("samples")
    unit = written("service")

    def execute(key: str) -> None:
        lines = [line.removeprefix(f"{key}=") for line in unit if line.startswith(f"{key}=")]
        assert lines
        for line in lines:
            command = line
            for place, name in places.items():
                command = command.replace(place, str(tmp_path / name))
            subprocess.run(shlex.split(command), check=True)

    execute("ExecStartPre")
    # As after a kill that left them.
    (tmp_path / "opt/current").unlink()
    (tmp_path / "opt/current").symlink_to("2")
    execute("ExecStartPre")
    assert (tmp_path / "run/release").readlink() == Path("2")
    assert not list((tmp_path / "opt/1").iterdir())
    assert (tmp_path / "run/config.toml").read_text() == "one"
    for name in ("state.json", "reload.json"):
        (tmp_path / "run" / name).touch()
    execute("ExecStopPost")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["spool"]
    assert "RuntimeDirectoryPreserve=yes" in unit


@pytest.mark.parametrize(
    ("host", "here"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.168.2.100", "192.168.2.100")],  # noqa: S104 - not bound
)
def test_the_service_is_awaited_where_it_listens(host: str, here: str) -> None:
    [wait] = [
        task["ansible.builtin.wait_for"]
        for outer in yaml.safe_load(SERVICE.read_text(encoding="utf-8"))
        for task in outer.get("block", [outer])
        if "ansible.builtin.wait_for" in task
    ]
    made = templar(concentrator_host=host)
    assert made.template(trust_as_template(wait["host"])) == here


def zone(name: str, access: str) -> dict[str, str]:
    return {"name": name, "address": f"192.168.{len(name)}.100", "access": access}


@pytest.mark.parametrize(
    ("accesses", "name", "usual"),
    [
        (["read-write", "read"], "bb", "read-only"),
        (["read", "read"], "a", "read-only"),
        (["read-write", "read-write"], "a", "read-write"),
    ],
)
def test_the_acceptance_asks_as_a_zone_that_may_only_read_if_there_is_one(
    accesses: list[str], name: str, usual: str
) -> None:
    zones = [zone(name, access) for name, access in zip(("a", "bb"), accesses, strict=True)]
    made = templar(concentrator_zones=zones)
    assert made.template(trust_as_template("{{ __concentrator_reader.name }}")) == name
    assert made.template(trust_as_template("{{ __concentrator_target }}")) == f"192.168.{len(name)}.100:502"
    assert made.template(trust_as_template("{{ __concentrator_usual }}")) == usual
