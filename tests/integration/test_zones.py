"""What hosts of the field zone, the control zone and a third network may do, each in a network namespace."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.networks import Networks
from tests.integration.program import Program, environment

pytestmark = pytest.mark.pi


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    created = Networks()
    yield created
    created.remove()


@pytest.fixture(scope="module")
def server(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The documented configuration, on port 502 of the Pi, with a statistics line each second."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "config.toml"
    config.write_text("[journal]\nstatistics_interval = 1\n")
    program = Program(("run", "--config", str(config)), folder, prefix=networks.within("pi"))
    program.wait_for("data \\(Ethernet interface\\)$")
    yield program
    program.kill()


WRITE = ("mbpoll", "-0", "-1", "-a", "1", "-r", "0", "-t", "4")
READ = (*WRITE, "-c", "8")
EXAMPLE = ("250", "260", "485", "536", "850", "456", str(0x5686), str(0x15E0))


def test_the_field_zone_can_write_and_the_control_zone_can_read(networks: Networks, server: Program) -> None:
    written = networks.run("field", *WRITE, "192.168.1.100", *EXAMPLE)
    assert "Written 8 references." in written.stdout, written
    for name, address in (("field", "192.168.1.100"), ("control", "192.168.2.100")):
        polled = networks.run(name, *READ, address)
        assert [line.split()[-1] for line in polled.stdout.splitlines() if line.startswith("[")] == list(
            EXAMPLE
        )
    server.wait_for(
        r"^\[RX FROM ESP32\] 2016-01-01T06:00:00\+00:00 \| P_ac=250\.0W P_dc=260\.0W V_dc=48\.50V "
        r"I_dc=5\.36A G=850\.0W/m² T_cell=45\.6°C \| Total RX: 1$"
    )
    server.wait_for(r"^\[TX TO OPTA\] Served registers 0-7 \| Total served: 1$")


def test_a_write_from_the_control_zone_is_refused(networks: Networks, server: Program) -> None:
    refused = networks.run("control", *WRITE, "192.168.2.100", "1", "2")
    assert "Illegal function" in refused.stderr
    server.wait_for(
        r"^\[REFUSED\] OPTA \(192\.168\.2\.10\) wrote registers 0-1 of unit 1 with function 16: "
        r"exception 01, it may only read$"
    )


def test_a_third_network_can_not_connect(networks: Networks, server: Program) -> None:
    polled = networks.run("stranger", *READ, "192.168.77.100")
    assert polled.returncode != 0
    assert "[0]:" not in polled.stdout
    server.wait_for(r"^\[CLOSED\] 192\.168\.77\.5 is in no zone$")
    server.wait_for(r"^\[STATS\] .* Unknown clients: [1-9]")


@pytest.mark.parametrize(
    ("name", "address", "expect"),
    [
        ("field", "192.168.1.100", "read-write"),
        ("control", "192.168.2.100", "read-only"),
        ("stranger", "192.168.77.100", "no-connection"),
        ("pi", "127.0.0.1", "read-only"),
    ],
)
def test_probe_detects_what_each_zone_may_do(
    networks: Networks, server: Program, name: str, address: str, expect: str
) -> None:
    server.wait_for("^Waiting for:$")
    outcomes = {
        kind: networks.probe(name, address, kind) for kind in ("read-only", "read-write", "no-connection")
    }
    assert outcomes == {kind: int(kind != expect) for kind in outcomes}


def test_an_address_that_disappears_and_returns_is_logged(networks: Networks, server: Program) -> None:
    assert "[NO ADDRESS]" not in server.out
    networks.set_address("delete", "eth0", "192.168.2.100/24")
    server.wait_for(
        r"^\[NO ADDRESS\] 192\.168\.2\.100 of zone control is not on this machine: Opta can't connect\."
    )
    networks.set_address("add", "eth0", "192.168.2.100/24")
    server.wait_for(r"^\[ADDRESS\] 192\.168\.2\.100 of zone control is here now \(eth0\)$")
    assert networks.probe("control", "192.168.2.100", "read-only") == 0


def test_the_program_ends_in_time_although_a_client_lost_its_link(networks: Networks, tmp_path: Path) -> None:
    program = Program(("run", "--port", "503"), tmp_path, prefix=networks.within("pi"))
    try:
        program.wait_for("^Waiting for:$")
        simulator = (
            "-m",
            "smart_meter",
            "simulate",
            "opta",
            "--to",
            "192.168.2.100:503",
            "--interval",
            "0.05",
        )
        with subprocess.Popen(
            [*networks.within("control"), sys.executable, *simulator],
            env=environment(),
            stdout=subprocess.DEVNULL,
        ) as opta:
            program.wait_for(r"^\[TX TO OPTA\]")
            networks.set_address("delete", "eth0", "192.168.2.100/24")
            started = time.monotonic()
            code, _ = program.stop()
            assert (code, time.monotonic() - started < 2) == (0, True)
            opta.send_signal(signal.SIGKILL)
    finally:
        program.kill()
        networks.set_address("add", "eth0", "192.168.2.100/24")
