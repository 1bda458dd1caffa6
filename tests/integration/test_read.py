"""`smart-meter read` and the simulators: state, age, "no value", long maps, and servers of other projects."""

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from smart_meter.config import Config
from smart_meter.doctor.facts import answer
from smart_meter.modbus.functions import FunctionCode
from tests.integration.program import PATIENCE, Program, run
from tests.unit.wire import SAMPLE_REGISTERS, adu, write

Start = Callable[..., Program]


def test_the_state_and_the_age_are_shown(server: Program) -> None:
    target = f"127.0.0.1:{server.port()}"
    ended = run("read", target)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"State: fresh, last sample \d+ s ago", ended.stdout.splitlines()[-1])
    record = json.loads(run("read", target, "--json").stdout)
    assert record["state"] == "fresh"
    assert 0 <= record["age"] < 60


STALE = """
[[meters]]
name = "silent"
unit_id = 1
stale_after = 0.1
on_stale = "exception"

[[meters]]
name = "empty"
unit_id = 2
stale_after = 0.1
on_stale = "sentinel"

[[meters]]
name = "waiting"
unit_id = 3
on_stale = "exception"
"""


def test_a_stale_meter_is_distinguished_from_an_unknown_unit_identifier(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "stale.toml"
    config.write_text(STALE)
    server = start("run", "--trial", "--port", "0", "--config", str(config))
    target = f"127.0.0.1:{server.port()}"
    with server.connect() as client:
        client.ask(write(0, unit=1))
        client.ask(write(0, unit=2))
    server.wait_for(r"^\[STALE\] ", count=2)
    answered = "was answered with exception 0x0B (gateway target device failed to respond: "
    withheld = 'its values are withheld (on_stale = "exception"))'
    for unit, expected in (
        ("1", rf"meter 1 is stale, last sample \d+ s ago; {re.escape(withheld)}"),
        ("3", rf"meter 3 is waiting, no sample yet; {re.escape(withheld)}"),
        ("9", r"no meter has unit identifier 9\)"),
    ):
        for command in (["read", target, "--json"], ["simulate", "opta", "--to", target]):
            ended = run(*command, "--unit", unit)
            assert (ended.returncode, ended.stdout) == (1, ""), command
            assert re.search(f"{re.escape(answered)}{expected}$", ended.stderr.strip()), ended.stderr

    empty = run("read", target, "--unit", "2")
    assert re.search(r"^0 +P_ac +- +W +65535$", empty.stdout, re.MULTILINE), empty.stdout
    assert re.search(r"^State: stale, last sample \d+ s ago$", empty.stdout, re.MULTILINE)
    record = json.loads(run("read", target, "--unit", "2", "--json").stdout)
    assert (record["state"], record["measurements"][0]["value"]) == ("stale", None)
    assert (
        " | P_ac=- P_dc=- " in run("simulate", "opta", "--to", target, "--unit", "2", "--count", "1").stdout
    )


def test_a_server_with_another_map_is_detected(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    names = ", ".join(f'{{name = "m{n}", address = {n}}}' for n in range(8))
    config.write_text(f'[[meters]]\nname = "other"\nunit_id = 1\nmeasurements = [{names}]\n')
    server = start("run", "--trial", "--port", "0", "--config", str(config))
    target = f"127.0.0.1:{server.port()}"
    wrong = run("read", target)
    assert wrong.returncode == 0
    assert "decoded with the default map, a6e383d7; give the server's configuration with --config" in (
        wrong.stderr
    )
    assert run("read", target, "--config", str(config)).stderr == ""


# Servers of other projects


def values(function: int, registers: tuple[int, ...]) -> bytes:
    return struct.pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)


@contextmanager
def foreign(holding: bytes, inputs: bytes | Callable[[bytes], bytes] | None) -> Iterator[int]:
    """Serve one reply PDU for function code 03 and one for 04 (None: silence); yield the port.

    inputs: may be a function of the request's PDU.
    """

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # It was closed at the end of the test.
                return
            with connection, connection.makefile("rb") as stream:
                while len(head := stream.read(7)) == 7:
                    request = stream.read(int.from_bytes(head[4:6]) - 1)
                    reply = holding if request[0] == FunctionCode.READ_HOLDING_REGISTERS else inputs
                    if callable(reply):
                        reply = reply(request)
                    if reply is not None:
                        connection.sendall(adu(head[6], reply, int.from_bytes(head[:2])))

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


HOLDING = values(3, SAMPLE_REGISTERS)
NO_RESPONSE = bytes([0x83, 0x0B])


@pytest.mark.parametrize(
    "inputs",
    [
        bytes([0x84, 1]),
        bytes([0x84, 2]),
        values(4, tuple(range(100, 113))),
        values(4, (1, 7, *[0] * 11)),
        values(4, (1,)),
        None,
    ],
    ids=["no such function", "no such registers", "another layout", "no state", "too few", "silence"],
)
def test_a_server_without_a_status_block_can_be_read(inputs: bytes | None) -> None:
    with foreign(HOLDING, inputs) as port:
        ended = run("read", f"127.0.0.1:{port}", "--timeout", "0.5")
        record = json.loads(run("read", f"127.0.0.1:{port}", "--timeout", "0.5", "--json").stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[-1] == "State: unknown, the server has no status block"
    assert lines[1].split() == ["0", "P_ac", "250.0", "W", "250"]
    assert (record["state"], record["age"], record["measurements"][0]["value"]) == (None, None, 250)


def older(request: bytes) -> bytes:
    """Answer as a concentrator whose status block has 13 registers."""
    if request[0] != FunctionCode.READ_INPUT_REGISTERS:
        return request
    quantity = int.from_bytes(request[3:5])
    return bytes([0x84, 2]) if quantity > 13 else values(4, (1, 1, 0, 7, *[0] * 9)[:quantity])


def test_the_status_block_of_an_older_concentrator_is_read() -> None:
    with foreign(HOLDING, older) as port:
        ended = run("read", f"127.0.0.1:{port}")
        answered = answer("127.0.0.1", port, Config().meters[0])
    assert ended.stdout.splitlines()[-1] == "State: fresh, last sample 7 s ago"
    assert answered.status is not None
    assert (answered.status.age, answered.status.unknown_units) == (7, None)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (bytes([0x84, 1]), "no meter has unit identifier 1, or the meter's values are too old"),
        (None, "no meter has unit identifier 1, or the meter's values are too old"),
        (bytes([0x84, 0x0B]), "no meter has unit identifier 1"),
    ],
)
def test_without_a_status_block_both_possible_reasons_are_given(inputs: bytes | None, expected: str) -> None:
    with foreign(NO_RESPONSE, inputs) as port:
        ended = run("read", f"127.0.0.1:{port}", "--timeout", "0.5")
    assert ended.returncode == 1
    assert ended.stderr.endswith(f"0x0B (gateway target device failed to respond: {expected})\n"), (
        ended.stderr
    )


# Maps that need several requests


def measurements(*entries: str) -> str:
    return (
        f'[[meters]]\nname = "m"\nunit_id = 1\npublish = "complete"\nmeasurements = [{", ".join(entries)}]\n'
    )


LONG = measurements(*(f'{{name = "m{n}", address = {2 * n}, type = "uint32"}}' for n in range(150)))
WIDE = measurements(
    '{name = "first", address = 0}',
    '{name = "far", address = 60000, type = "float32", scale = 1e9, offset = 1e12}',
    '{name = "last", address = 65534, type = "timestamp"}',
)


@pytest.mark.parametrize(("text", "requests"), [(LONG, 3), (WIDE, 3)], ids=["over 123", "a wide gap"])
def test_the_simulators_and_read_send_as_many_requests_as_the_map_needs(
    start: Start, tmp_path: Path, text: str, requests: int
) -> None:
    config = tmp_path / "long.toml"
    config.write_text(text)
    server = start("run", "--trial", "--port", "0", "--config", str(config))
    options = (f"127.0.0.1:{server.port()}", "--config", str(config))
    esp32 = run("simulate", "esp32", "--count", "2", "--interval", "0.05", "--to", *options)
    assert (esp32.returncode, esp32.stderr, esp32.stdout.count("ESP32 wrote ")) == (0, "", 2)
    # The journal has a line per complete sample.
    server.wait_for(r"^\[RX FROM ESP32\] .* \| Total RX: 2$")
    assert server.out.count("[RX FROM ESP32]") == 2

    read = run("read", *options)
    assert (read.returncode, read.stderr) == (0, "")
    assert read.stdout.splitlines()[1].split()[2] != "0.0"
    opta = run("simulate", "opta", "--count", "1", "--to", *options)
    assert (opta.returncode, opta.stderr, opta.stdout.count("Opta read ")) == (0, "", 1)
    assert server.stop()[0] == 0
    # Both read the map, and `read` the status block.
    assert f"| Served: {2 * requests + 1} |" in server.out.splitlines()[-1]
