"""What a redeployed configuration may not change: a reload would apply only a part of it."""

from __future__ import annotations

import pytest
from roles.concentrator.rollout.reloadable import beyond_a_reload

HAD = """
[server]
port = 502

[history]
path = "/var/lib/smart-meter/history.db"

[[zones]]
name = "control"
peer = "Opta"
medium = "Ethernet"
interface = "eth0"
address = "192.168.2.100"
network = "192.168.2.0/24"
access = "read"

[[zones]]
name = "field"
peer = "ESP32"
medium = "WiFi"
interface = "wlan0"
address = "192.168.1.100"
network = "192.168.1.0/24"
access = "read-write"
"""
FIELD_ZONE = HAD[HAD.rindex("[[zones]]") :]
ANOTHER_ZONE = (
    FIELD_ZONE.replace("field", "lab")
    .replace("ESP32", "PC")
    .replace("wlan0", "eth9")
    .replace("192.168.1.", "10.9.8.")
)


def problems_of(wanted: str, *, zones_are_default: bool = True, before: str = HAD) -> list[tuple[str, str]]:
    """Return variable and message of each problem."""
    problems = beyond_a_reload(before, wanted, "pi-north", zones_are_default=zones_are_default)
    return [(str(problem.key[0]), problem.message) for problem in problems]


def test_the_port_is_named_with_both_values_and_the_fix() -> None:
    assert problems_of(HAD.replace("port = 502", "port = 1502")) == [
        (
            "concentrator_port",
            "is 1502, and the Pi has 502: a reload can't change that; run make provision LIMIT=pi-north",
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "variable"),
    [
        ("port = 502", 'port = 502\nhost = "192.168.2.100"', "concentrator_host"),
        ('"192.168.2.100"', '"192.168.2.101"', "network_field_address"),
        ('"eth0"', '"eth1"', "network_field_interface"),
        ("2.0/24", "2.0/23", "network_field_address"),
        ("/var/lib/smart-meter/", "/mnt/usb/smart-meter/", "concentrator_history_path"),
        ("port = 502", 'port = 502\n[events]\npath = "/mnt/usb/e/events.db"', "concentrator_events_path"),
        (FIELD_ZONE, f"{FIELD_ZONE}\n{ANOTHER_ZONE}", "concentrator_zones"),
    ],
)
def test_so_is_all_that_stands_elsewhere_on_the_pi_too(old: str, new: str, variable: str) -> None:
    # The control zone is the first here, which by default is the field zone.
    assert [name for name, _ in problems_of(HAD.replace(old, new))] == [variable]


def test_zones_that_were_written_out_are_named_as_such() -> None:
    wanted = HAD.replace('"eth0"', '"eth1"')

    assert [name for name, _ in problems_of(wanted, zones_are_default=False)] == ["concentrator_zones"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"read"', '"read-write"'),
        ('"Opta"', '"PLC"'),
        ("2.0/24", "2.96/28"),
        ("/history.db", "/other.db"),
        ("/var/lib/smart-meter/history.db", ""),
        ("port = 502", 'port = 502\n[events]\npath = "/var/lib/smart-meter/events.db"'),
        ("port = 502", "port = 502\nmax_connections = 50"),
    ],
)
def test_what_the_service_alone_decides_may_change(old: str, new: str) -> None:
    assert problems_of(HAD.replace(old, new)) == []


@pytest.mark.parametrize("before", ["", "nonsense"])
def test_a_pi_with_no_configuration_or_a_damaged_one_takes_any(before: str) -> None:
    assert problems_of(HAD, before=before) == []
