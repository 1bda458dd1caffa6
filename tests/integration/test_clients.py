"""All function codes, with clients of other projects."""

import re
import subprocess
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient, ModbusTcpClient
from pyModbusTCP.client import ModbusClient

from smart_meter import __version__
from smart_meter.registers.register_map import PV_MAP
from tests.integration.program import PATIENCE, Program
from tests.unit.wire import SAMPLE_REGISTERS

SAMPLE = list(SAMPLE_REGISTERS)
BASIC = {0: "Smart Meter", 1: "smart-meter", 2: __version__}
REGULAR = {**BASIC, 4: "Smart Meter concentrator", 5: "Modbus TCP data concentrator", 6: "RPI#1"}
EXTENDED = {**REGULAR, 0x80: PV_MAP.fingerprint, 0x81: "pv"}


def texts(information: dict[int, bytes]) -> dict[int, str]:
    return {number: value.decode() for number, value in information.items()}


def test_pymodbus_masks_a_register_and_reads_and_writes_in_one_request(server: Program) -> None:
    with ModbusTcpClient("127.0.0.1", port=server.port()) as client:
        assert not client.write_register(0, 0x12, device_id=1).isError()
        masked = client.mask_write_register(address=0, and_mask=0xF2, or_mask=0x25, device_id=1)
        assert (masked.address, masked.and_mask, masked.or_mask) == (0, 0xF2, 0x25)
        answered = client.readwrite_registers(
            read_address=0, read_count=4, write_address=1, values=[7, 8], device_id=1
        )
        assert answered.registers == [0x17, 7, 8, SAMPLE[3]]


def test_pymodbus_gets_an_echo_but_no_other_diagnostics(server: Program) -> None:
    with ModbusTcpClient("127.0.0.1", port=server.port()) as client:
        assert client.diag_query_data(b"\x00\xa5\x5a\xff", device_id=1).message == b"\x00\xa5\x5a\xff"
        assert client.diag_read_bus_message_count(device_id=1).exception_code == 1


@pytest.mark.parametrize(("access", "objects"), [(1, BASIC), (2, REGULAR), (3, EXTENDED)])
def test_pymodbus_reads_the_identification(server: Program, access: int, objects: dict[int, str]) -> None:
    with ModbusTcpClient("127.0.0.1", port=server.port()) as client:
        answered = client.read_device_information(read_code=access, object_id=0, device_id=1)
        assert texts(answered.information) == objects
        assert (answered.conformity, answered.more_follows, answered.next_object_id) == (0x83, 0, 0)
        one = client.read_device_information(read_code=4, object_id=max(objects), device_id=1)
        assert texts(one.information) == {max(objects): objects[max(objects)]}
        assert client.read_device_information(read_code=4, object_id=3, device_id=1).exception_code == 2


async def test_the_asynchronous_client_of_pymodbus_is_served(server: Program) -> None:
    async with AsyncModbusTcpClient("127.0.0.1", port=server.port()) as client:
        answered = await client.read_device_information(read_code=3, object_id=0, device_id=1)
        assert texts(answered.information) == EXTENDED
        assert (await client.diag_query_data(b"\x12\x34", device_id=1)).message == b"\x12\x34"
        both = await client.readwrite_registers(
            read_address=0, read_count=8, write_address=0, values=SAMPLE, device_id=1
        )
        assert both.registers == SAMPLE


def test_a_read_only_client_may_neither_mask_nor_read_and_write_in_one_request(
    reading_only: Program,
) -> None:
    with ModbusTcpClient("127.0.0.1", port=reading_only.port()) as client:
        assert client.mask_write_register(address=0, and_mask=0, or_mask=1, device_id=1).exception_code == 1
        refused = client.readwrite_registers(
            read_address=0, read_count=1, write_address=0, values=[7], device_id=1
        )
        assert refused.exception_code == 1
        assert client.read_holding_registers(0, count=8, device_id=1).registers == [0] * 8
        assert texts(client.read_device_information(device_id=1).information) == BASIC


def test_pymodbustcp_reads_writes_and_identifies(server: Program) -> None:
    client = ModbusClient("127.0.0.1", server.port(), unit_id=1, timeout=PATIENCE)
    try:
        assert client.read_holding_registers(0, 8) == SAMPLE
        assert client.write_multiple_registers(0, [1, 2, 3, 4, 5, 6, 7, 8])
        assert client.write_single_register(5, 9)
        assert client.write_read_multiple_registers(0, [11, 12], 1, 7) == [12, 3, 4, 5, 9, 7, 8]
        identified = client.read_device_identification(read_code=3)
        assert texts(identified.objects_by_id) == EXTENDED
        assert (identified.conformity_level, identified.more_follows) == (0x83, 0)
        assert client.custom_request(b"\x08\x00\x00\xa5\x5a") == b"\x08\x00\x00\xa5\x5a"
        assert client.custom_request(b"\x16\x00\x00\x00\x00\x12\x34") == b"\x16\x00\x00\x00\x00\x12\x34"
        assert client.read_holding_registers(0, 1) == [0x1234]
        assert client.read_input_registers(0, 1) == [1]
        assert client.read_coils(0, 1) is None
        assert client.last_except == 1
        assert client.read_holding_registers(8, 1) is None
        assert client.last_except == 2
    finally:
        client.close()


def test_libmodbus_reads_and_writes(server: Program, tmp_path: Path) -> None:
    source = Path(__file__).with_name("libmodbus_client.c")
    client = tmp_path / "client"
    compiler = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", str(client), str(source), "-lmodbus"]
    subprocess.run(compiler, check=True, timeout=PATIENCE)
    ended = subprocess.run(
        [str(client), str(server.port())], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "write registers: 8",
        "read registers: 8 250 260 485 536 850 456 22150 5600",
        "write register: 1",
        "mask write register: 1",
        "write and read registers: 5 300 301 485 536 23",
        "read past the map: Illegal data address",
        "read input registers: 1",
        "read of unit 9: Target device failed to respond",
    ]


def test_nmap_discovers_the_identification(reading_only: Program) -> None:
    # "+" runs the script on a port other than 502; -sT and -Pn: use ordinary connections only.
    command = ["nmap", "-n", "-Pn", "-sT", "-p", str(reading_only.port()), "--script", "+modbus-discover"]
    ended = subprocess.run([*command, "127.0.0.1"], capture_output=True, text=True, timeout=60, check=False)
    assert re.search(
        rf"Device identification: Smart Meter smart-meter {re.escape(__version__)}$",
        ended.stdout,
        re.MULTILINE,
    ), ended
