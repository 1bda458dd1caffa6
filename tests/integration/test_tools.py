"""Clients of other projects, and our own tools, with the running program."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient

from smart_meter.registers.register_map import PV_MAP
from tests.integration.program import PATIENCE, Program, run
from tests.unit.wire import SAMPLE_REGISTERS, write, write_one

Start = Callable[..., Program]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def mbpoll(port: int, *arguments: str, values: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    # -0: addresses as on the wire; -1: poll once.
    command = ["mbpoll", "-m", "tcp", "-p", str(port), "-0", "-1", *arguments, "127.0.0.1", *map(str, values)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_mbpoll_reads_and_writes_eight_registers(server: Program) -> None:
    values = (1, 2, 3, 4, 5, 6, 7, 65535)
    written = mbpoll(server.port(), "-a", "1", "-r", "0", "-t", "4", values=values)
    assert "Written 8 references." in written.stdout, written
    polled = mbpoll(server.port(), "-a", "1", "-r", "0", "-c", "8", "-t", "4")
    assert re.findall(r"^\[(\d)\]:\s+(\d+)", polled.stdout, re.MULTILINE) == [
        (str(register), str(value)) for register, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-a", "9", "-r", "0", "-c", "1", "-t", "4"], "Target device failed to respond"),
        (["-a", "1", "-r", "4", "-c", "8", "-t", "4"], "Illegal data address"),
        (["-a", "1", "-r", "20", "-c", "8", "-t", "3"], "Illegal data address"),
        (["-a", "1", "-r", "0", "-c", "8", "-t", "0"], "Illegal function"),
    ],
    ids=["unknown unit", "outside the map", "beyond the status block", "coils"],
)
def test_mbpoll_shows_why_it_is_refused(server: Program, arguments: list[str], expected: str) -> None:
    assert expected in mbpoll(server.port(), *arguments).stderr


def test_mbpoll_reads_the_status_block(server: Program) -> None:
    polled = mbpoll(server.port(), "-a", "1", "-r", "0", "-c", "13", "-t", "3")
    values = [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", polled.stdout, re.MULTILINE)]
    fingerprint = int(PV_MAP.fingerprint, 16)
    # Layout 1, fresh, its age, one sample, nothing refused, the fingerprint, sequence number 1, all in range.
    assert values[:3] + values[4:] == [1, 1, 0, 0, 1, 0, 0, fingerprint >> 16, fingerprint & 0xFFFF, 0, 1, 0]


def test_mbpoll_can_not_write_as_a_read_only_client(reading_only: Program) -> None:
    refused = mbpoll(reading_only.port(), "-a", "1", "-r", "0", "-t", "4", values=(1, 2))
    assert "Illegal function" in refused.stderr


def test_pymodbus_reads_and_writes(server: Program) -> None:
    with ModbusTcpClient("127.0.0.1", port=server.port()) as client:
        assert client.read_holding_registers(0, count=8, device_id=1).registers == list(SAMPLE_REGISTERS)
        assert not client.write_registers(0, list(range(8)), device_id=1).isError()
        assert not client.write_register(5, 9, device_id=1).isError()
        assert client.read_holding_registers(5, count=2, device_id=1).registers == [9, 6]
        # Half of a value of two registers is not shown.
        assert not client.write_register(7, 9, device_id=1).isError()
        assert client.read_holding_registers(6, count=2, device_id=1).registers == [6, 7]
        assert client.read_coils(0, count=1, device_id=1).exception_code == 1
        assert client.read_holding_registers(8, count=1, device_id=1).exception_code == 2
        assert client.read_holding_registers(0, count=1, device_id=3).exception_code == 0x0B


async def test_pymodbus_reads_asynchronously(server: Program) -> None:
    async with AsyncModbusTcpClient("127.0.0.1", port=server.port()) as client:
        for _ in range(50):
            answered = await client.read_holding_registers(0, count=8, device_id=1)
            assert answered.registers == list(SAMPLE_REGISTERS)


def test_read_prints_a_decoded_table(server: Program) -> None:
    ended = run("read", f"127.0.0.1:{server.port()}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0].split() == ["Register", "Measurement", "Value", "Unit", "Raw"]
    assert "T_cell       45.6                       °C    456" in ended.stdout


def test_read_prints_json(server: Program) -> None:
    ended = run("read", f"127.0.0.1:{server.port()}", "--json", "--unit", "255")
    record = json.loads(ended.stdout)
    assert (record["meter"], record["unit_id"], record["measured"]) == (
        "pv",
        255,
        "2016-01-01T06:00:00+00:00",
    )
    assert {m["name"]: m["value"] for m in record["measurements"]}["V_dc"] == 48.5


TWO_METERS = """
[[meters]]
name = "roof"
unit_id = 3

[[meters]]
name = "cellar"
unit_id = 7
measurements = [
    { name = "humidity", address = 100, scale = 10, unit = "%" },
    { name = "door", address = 300, decimals = 0 },
]
"""


def test_with_a_configuration_each_meter_is_decoded_with_its_own_map(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "two.toml"
    config.write_text(TWO_METERS)
    server = start("run", "--trial", "--port", "0", "--config", str(config))
    target = f"127.0.0.1:{server.port()}"
    with server.connect() as client:
        client.ask(write(0, unit=3))
        client.ask(write_one(100, 555, unit=7))
        client.ask(write_one(300, 1, unit=7))
    server.wait_for(r"^\[RX FROM ESP32\] cellar \| \S+ \| humidity=55\.5% door=1 \| Total RX: 2$")

    first = run("read", target, "--config", str(config), "--json")
    assert json.loads(first.stdout)["meter"] == "roof"
    # 201 registers from 100 to 300 take two requests.
    cellar = run("read", target, "--config", str(config), "--unit", "7")
    assert cellar.stdout.splitlines()[1:-1] == [
        "100       humidity     55.5   %     555",
        "300       door         1            1",
    ]
    unknown = run("read", target, "--config", str(config), "--unit", "5")
    assert unknown.returncode == 2
    assert unknown.stderr == f"--unit 5: no meter in {config} has it; give one of 3, 7\n"


def test_the_tools_also_report_a_refused_configuration(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[server]\nport = 0\n")
    ended = run("read", "127.0.0.1", "--config", str(config))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{config}: server.port: 0 is out of range")


def test_units_are_escaped_if_the_terminal_can_not_show_them(server: Program, start: Start) -> None:
    tool = start("read", f"127.0.0.1:{server.port()}", extra={"PYTHONIOENCODING": "ascii"})
    assert tool.process.wait(PATIENCE) == 0
    assert "W/m\\xb2" in tool.out
    assert tool.err == ""


def test_read_shows_why_it_can_not_connect() -> None:
    port = closed_port()
    ended = run("read", f"127.0.0.1:{port}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"smart-meter: can't connect to 127.0.0.1:{port}: Connection refused\n"


def test_read_reports_a_server_that_does_not_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ended = run("read", f"127.0.0.1:{port}", "--timeout", "0.3")
    assert ended.returncode == 1
    assert ended.stderr == f"smart-meter: 127.0.0.1:{port}: no reply in time (reading registers 0 to 7)\n"


def test_read_shows_the_exception_of_the_reply(server: Program) -> None:
    ended = run("read", f"127.0.0.1:{server.port()}", "--unit", "9")
    assert ended.returncode == 1
    assert "was answered with exception 0x0B (gateway target device failed to respond" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_read_with_a_closed_output_ends_quietly(server: Program, start: Start) -> None:
    out, into = os.pipe()
    os.close(out)
    tool = start("read", f"127.0.0.1:{server.port()}", stdout=into)
    os.close(into)
    assert tool.process.wait(PATIENCE) == 0
    assert tool.err == ""


def test_probe_detects_that_this_machine_may_only_read(reading_only: Program) -> None:
    target = f"127.0.0.1:{reading_only.port()}"
    ended = run("probe", target)
    assert ended.returncode == 0, ended
    assert ended.stdout.startswith(
        "read-only: registers 0 to 7 can be read, a write is refused with exception 01"
    )
    assert run("probe", target, "--expect", "read-write").returncode == 1


def test_probe_detects_that_it_may_write_without_changing_anything(server: Program) -> None:
    target = f"127.0.0.1:{server.port()}"
    assert run("probe", target, "--expect", "read-write").returncode == 0
    ended = run("probe", target, "--json")
    assert ended.returncode == 1
    record = json.loads(ended.stdout)
    assert (record["found"], record["expected"], record["as_expected"]) == ("read-write", "read-only", False)
    with server.connect() as client:
        assert client.ask(bytes.fromhex("000100000006010300000001")).hex().endswith("00fa")


def test_probe_detects_that_there_is_no_connection() -> None:
    target = f"127.0.0.1:{closed_port()}"
    assert run("probe", target, "--expect", "no-connection").returncode == 0
    assert run("probe", target).returncode == 1


def test_probe_treats_a_connection_that_is_closed_at_once_as_none(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        closing.settimeout(PATIENCE)
        target = f"127.0.0.1:{closing.getsockname()[1]}"
        probe = start("probe", target, "--expect", "no-connection")
        closing.accept()[0].close()
        assert probe.process.wait(PATIENCE) == 0


def test_the_simulated_opta_reads_what_the_simulated_esp32_writes(server: Program, start: Start) -> None:
    target = f"127.0.0.1:{server.port()}"
    esp32 = start("simulate", "esp32", "--to", target, "--count", "5", "--interval", "0.05")
    esp32.wait_for("^ESP32 wrote ")
    opta = start("simulate", "opta", "--to", target, "--count", "5", "--interval", "0.05")
    assert (esp32.process.wait(PATIENCE), opta.process.wait(PATIENCE)) == (0, 0)
    assert len(re.findall(r"^ESP32 wrote \S+ \| P_ac=\d+\.\dW ", esp32.out, re.MULTILINE)) == 5
    assert len(re.findall(r"^Opta read \S+ \| P_ac=\d+\.\dW ", opta.out, re.MULTILINE)) == 5
    assert re.search(r"\| age \d\.\d s$", opta.out, re.MULTILINE)
    assert (esp32.err, opta.err) == ("", "")


def test_old_timestamps_are_not_shown_as_an_age(server: Program, start: Start) -> None:
    # The sample in the server was measured in 2016.
    opta = start(
        "simulate", "opta", "--to", f"127.0.0.1:{server.port()}", "--count", "2", "--interval", "0.3"
    )
    assert opta.process.wait(PATIENCE) == 0
    ages = [float(age) for age in re.findall(r"\| unchanged for (\d\.\d) s$", opta.out, re.MULTILINE)]
    assert ages[0] == 0.0
    assert 0.2 <= ages[1] < 3


def test_a_simulated_day_may_be_in_the_past(server: Program, start: Start) -> None:
    start_time = "2016-01-01T12:00:00+00:00"
    esp32 = start(
        *("simulate", "esp32", "--to", f"127.0.0.1:{server.port()}", "--count", "2", "--interval", "0.2"),
        *("--start", start_time, "--speed", "3600"),
    )
    assert esp32.process.wait(PATIENCE) == 0
    first, second = re.findall(r"^ESP32 wrote 2016-01-01T(\d\d):(\d\d):\d\d", esp32.out, re.MULTILINE)
    assert first == ("12", "00")
    minutes = (int(second[0]) - 12) * 60 + int(second[1])
    assert 10 <= minutes < 120


def test_the_simulators_wait_for_a_server_to_come_back(start: Start) -> None:
    server = start("run", "--trial", "--port", "0")
    port = server.port()
    esp32 = start("simulate", "esp32", "--to", f"127.0.0.1:{port}", "--interval", "0.05", "--timeout", "1")
    esp32.wait_for("^ESP32 wrote ", count=2)
    server.kill()
    esp32.wait_for(r"^ESP32: .*; trying again every 0\.05 s$")
    server = start("run", "--trial", "--port", str(port))
    esp32.wait_for(r"^ESP32: connected again$")
    server.wait_for(r"^\[RX FROM ESP32\]", count=2)
    code, _ = esp32.stop(signal.SIGINT)
    assert (code, esp32.err) == (130, "")


def test_a_simulator_that_is_refused_reports_it_and_ends(reading_only: Program) -> None:
    ended = run("simulate", "esp32", "--to", f"127.0.0.1:{reading_only.port()}")
    assert ended.returncode == 1
    assert "writing registers 0 to 7 was answered with exception 0x01 (illegal function" in ended.stderr
