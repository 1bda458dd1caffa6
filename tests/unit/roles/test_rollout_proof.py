"""From where a configuration is proven, and what is asked."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from roles.concentrator.files import prove
from roles.concentrator.rollout.proof import NotProvableError, direct_client, program, reader, target

from smart_meter.concentrator import probe
from smart_meter.config import Config, loads
from smart_meter.modbus.identification import ObjectId

METER = """
[[meters]]
name = "pv"
unit_id = 1
on_stale = "exception"

[[meters.access]]
zone = "control"
clients = ["192.168.2.10"]
access = "read"

[[meters.access]]
zone = "field"
access = "read-write"

[[meters.measurements]]
name = "P_ac"
address = 4
type = "uint32"
"""


def row(ours: tuple[str, int], theirs: tuple[str, int]) -> str:
    """Return a line of /proc/net/tcp."""

    def shown(address: str, port: int) -> str:
        return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}:{port:04X}"

    return f"   0: {shown(*ours)} {shown(*theirs)} 01 00000000:00000000 00:00000000 00000000  0 0 1 1 0\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "tcp"
    file.write_text("  sl  local_address rem_address\n" + row(("192.168.2.1", 51000), ("192.168.2.100", 22)))
    return file


def test_a_connection_of_this_machine_s_own_to_the_pi_s_control_address_counts(table: Path) -> None:
    assert direct_client("192.168.2.1 51000 192.168.2.100 22", "192.168.2.100", table) == "192.168.2.1"


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param("192.168.2.1 51001 192.168.2.100 22", id="another port: a jump host's"),
        pytest.param("192.168.2.1 51000 192.168.1.100 22", id="it came in by another of the Pi's addresses"),
        pytest.param("fe80::1 51000 fe80::2 22", id="IPv6"),
        pytest.param("", id="no SSH at all"),
    ],
)
def test_any_other_connection_does_not(connection: str, table: Path) -> None:
    assert direct_client(connection, "192.168.2.100", table) == ""


def test_a_system_without_such_a_table_asks_from_the_pi(tmp_path: Path) -> None:
    assert direct_client("192.168.2.1 51000 192.168.2.100 22", "192.168.2.100", tmp_path / "none") == ""


def test_every_meter_is_asked_for_its_registers_and_its_fingerprint() -> None:
    config = Config()

    asked = target(config, "192.168.2.1", 2)

    assert (asked["host"], asked["port"], asked["seconds"]) == ("192.168.2.100", 502, 2)
    assert bytes.fromhex(asked["announcement"]) == probe.PDU
    assert asked["meters"] == [
        {
            "name": config.meters[0].name,
            "unit": 1,
            "start": 0,
            "quantity": 8,
            "fingerprint": config.meters[0].map.fingerprint,
            "reads": True,
            "identifies": True,
            "silent": False,
        }
    ]


def test_what_a_client_may_not_do_is_not_held_against_the_pi() -> None:
    config = loads(METER, "config.toml")

    (other,) = target(config, "192.168.2.1", 1)["meters"]
    (opta,) = target(config, "192.168.2.10", 1)["meters"]

    assert (other["reads"], other["identifies"]) == (False, False)
    assert (opta["reads"], opta["identifies"], opta["silent"]) == (True, True, True)
    assert (opta["start"], opta["quantity"]) == (4, 2)


def test_a_controller_that_the_configuration_would_cut_off_says_so() -> None:
    with pytest.raises(NotProvableError, match=r"10\.9\.8\.7, is in no zone of the configuration"):
        target(Config(), "10.9.8.7", 1)


def test_the_reader_is_the_first_zone_that_may_only_read() -> None:
    assert reader(Config()).name == "control"


def test_the_fingerprint_is_requested_by_its_object_number() -> None:
    assert prove._FINGERPRINT == ObjectId.REGISTER_MAP_FINGERPRINT


def test_the_program_for_the_pi_needs_nothing_but_python_and_reports_what_is_wrong() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and no process listens there
        host, port = bound.getsockname()
        asked = {**target(Config(), "", 0), "host": host, "port": port}
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-", json.dumps(asked)],
            input=program(),
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == [f"{host}:{port}: connection refused"]
    assert done.stderr == ""
