"""`smart-meter probe` with all kinds of concentrators and with other servers, which it must not change."""

import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from roles.concentrator.files.prove import prove

from smart_meter.cli.client import Client
from smart_meter.cli.commands.probe import NO_CONNECTION, OTHER, READ_ONLY, READ_WRITE, Finding
from smart_meter.cli.commands.probe import probe as find_out
from smart_meter.concentrator import probe
from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Access, AccessRule, Config, MeterConfig, OnStale
from smart_meter.doctor.facts import answer as doctors_answer
from smart_meter.modbus.adu import AduReader
from smart_meter.modbus.functions import FUNCTIONS, Bank, exception
from smart_meter.registers.register_map import PV_MAP
from tests.integration.program import PATIENCE, Program, run
from tests.unit.wire import adu, read, sent, wire, write

Start = Callable[..., Program]
Answer = Callable[[bytes], bytes]
STATUS = adu(1, wire("04 0000 000d"))


@contextmanager
def serving(answer: Answer) -> Iterator[Client]:
    """Answer the requests of one connection in a thread; an empty answer means no reply."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE)
            reader = AduReader()
            with connection:
                while data := connection.recv(4096):
                    for request in reader.feed(data):
                        connection.sendall(answer(request))

        thread = threading.Thread(target=serve)
        thread.start()
        with Client("127.0.0.1", listener.getsockname()[1], 1, timeout=0.5) as client:
            yield client
        thread.join(PATIENCE)


def found(answer: Answer) -> Finding:
    with serving(answer) as client:
        return find_out(client, Config().meters[0])


def concentrator(*rules: AccessRule, on_stale: OnStale = OnStale.HOLD) -> tuple[Concentrator, Answer]:
    """Return a concentrator, and how it answers the client that probes it."""
    config = Config(meters=(MeterConfig("pv", 1, PV_MAP, access=rules, on_stale=on_stale),))
    created = Concentrator(config, lambda _: None, lambda: 100.0, lambda: 0.0)
    session = created.admit("192.168.1.50")
    assert session is not None
    return created, lambda request: sent(session.respond(request))


@pytest.mark.parametrize(("code", "detail"), [(16, "read and written"), (6, "6"), (22, "22"), (23, "23")])
def test_a_rule_for_single_function_codes_is_detected(code: int, detail: str) -> None:
    created, answer = concentrator(AccessRule("field", (), Access.READ_WRITE, frozenset({3, code})))
    finding = found(answer)
    expected = detail if code == 16 else f"read, and written with function code {code}, not with 16"
    assert finding == Finding(READ_WRITE, f"registers 0 to 7 can be {expected}")
    assert_untouched(created)


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access.READ, READ_ONLY),
        (Access.READ_WRITE, READ_WRITE),
        (Access.WRITE, OTHER),
        (Access.NONE, OTHER),
    ],
)
def test_each_kind_of_access_is_detected(access: Access, expected: str) -> None:
    created, answer = concentrator(AccessRule("field", (), access))
    assert found(answer).found == expected
    assert_untouched(created)


def test_a_stale_meter_is_detected_as_the_acceptance_expects() -> None:
    created, answer = concentrator(on_stale=OnStale.EXCEPTION)
    finding = found(answer)
    assert finding.found == OTHER
    # roles/concentrator/tasks/verify.yml searches for this text.
    assert "exception 0x0B" in finding.detail
    assert_untouched(created)


def assert_untouched(created: Concentrator) -> None:
    [meter] = created.meters
    counted = created.statistics
    assert meter.sample == bytes(16)
    assert (meter.samples, meter.refused, counted.received, counted.served) == (0, 0, 0, 0)
    assert (counted.refused, counted.exceptions, counted.connections) == (0, 0, 0)


@pytest.mark.parametrize(("access", "expected"), [(Access.READ, READ_ONLY), (Access.READ_WRITE, READ_WRITE)])
def test_a_concentrator_without_support_for_probes_is_not_written_to_either(
    access: Access, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smart_meter.concentrator.session.announces", lambda _: False)
    created, answer = concentrator(AccessRule("field", (), access))
    assert found(answer).found == expected
    [meter] = created.meters
    assert (meter.sample, meter.samples, meter.partial_writes) == (bytes(16), 0, 0)


class Other:
    """A server of another project: its registers, and how it handles invalid requests."""

    def __init__(
        self, *, supports: tuple[int, ...], ignores_invalid: bool = False, careless: bool = False
    ) -> None:
        self.bank = Bank(0, 8)
        self.bank.view = write(0)[13:]
        self._supports = supports
        self._ignores_invalid = ignores_invalid
        self._careless = careless
        self.writes: list[int] = []

    def answer(self, request: bytes) -> bytes:
        if request[7] not in self._supports:
            return exception(request, 1)
        if self._careless and request[7] in (6, 22):
            # It does not check the length, and uses the bytes after the request as values.
            request = request[:4] + b"\0\6" + (request[6:] + bytes(6))[: 14 if request[7] == 22 else 6]
        reply, _ = FUNCTIONS[request[7]].execute(self.bank, request, 0.0)
        return b"" if self._ignores_invalid and reply[7] & 0x80 and request[7] in (6, 22) else reply


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Other(supports=(3,)), READ_ONLY),
        (Other(supports=(3, 6, 8, 16)), READ_WRITE),
        (Other(supports=(3, 6)), READ_WRITE),
        (Other(supports=(3, 6), careless=True), READ_WRITE),
        (Other(supports=(3, 22), careless=True), READ_WRITE),
        (Other(supports=(3, 6), ignores_invalid=True), OTHER),
    ],
)
def test_other_servers_are_not_written_to(server: Other, expected: str) -> None:
    held = server.bank.view
    assert found(server.answer).found == expected
    assert server.bank.view == held


def test_a_server_that_does_not_answer_the_announcement_counts_as_no_connection() -> None:
    finding = found(lambda _: b"")
    assert finding.found == NO_CONNECTION
    assert "announcing the probe" in finding.detail


# The real program


SENTINEL = """
[history]
path = "{history}"
[[meters]]
name = "m"
unit_id = 1
stale_after = 0.2
on_stale = "sentinel"
[[meters.measurements]]
name = "P"
address = 0
"""


def test_a_probe_changes_nothing_and_is_not_counted(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(SENTINEL.format(history=tmp_path / "history.db"))
    program = start("run", "--trial", "--port", "0", "--config", str(config))
    with program.connect() as client:
        client.ask(write(0, (7,)))
        program.wait_for(r"^\[STALE\]")
        before = client.ask(STATUS)
        # This is the only register. A probe that wrote it back would make the meter fresh, with a sentinel.
        for expect, code in (("read-write", 0), ("read-only", 1)):
            ended = run("probe", f"127.0.0.1:{program.port()}", "--config", str(config), "--expect", expect)
            assert (ended.returncode, ended.stderr) == (code, "")
        doctor = doctors_answer("127.0.0.1", program.port(), Config().meters[0]).status
        assert doctor is not None
        assert doctor.samples == 1
        assert client.ask(read(0, 1))[9:] == b"\xff\xff"
        # Everything except the age.
        after = client.ask(STATUS)
        assert after[9:13] + after[17:] == before[9:13] + before[17:]
    assert program.stop()[0] == 0
    assert len([line for line in program.out.splitlines() if line.startswith("[PROBE]")]) == 1
    assert "[REFUSED]" not in program.out
    assert totals(program) == "Received: 1 | Served: 3 | Refused: 0 | Exceptions: 0 | Connections: 1"
    with sqlite3.connect(tmp_path / "history.db") as database:
        assert database.execute("SELECT count(*) FROM samples").fetchone() == (1,)
    database.close()


def totals(program: Program) -> str:
    """Return the first totals of the last statistics line."""
    return " | ".join(program.out.splitlines()[-1].split(" | ")[1:6]).partition(" (")[0]


def test_the_json_output_has_the_keys_that_the_acceptance_reads(reading_only: Program) -> None:
    ended = run("probe", f"127.0.0.1:{reading_only.port()}", "--json")
    assert json.loads(ended.stdout) == {
        "found": "read-only",
        "detail": "registers 0 to 7 can be read, a write is refused with exception 01",
        "expected": "read-only",
        "as_expected": True,
    }
    reading_only.wait_for(r"^\[PROBE\] LOCALHOST \(127\.0\.0\.1\) may use function codes 3, 4, 8, 43$")
    reading_only.stop()
    assert totals(reading_only) == "Received: 0 | Served: 0 | Refused: 0 | Exceptions: 0 | Connections: 0"


def proof_target(port: int, **changes: object) -> dict[str, object]:
    """Return what the proof asks of the configuration without zones and measurements of its own."""
    [pv] = Config().meters
    meter = {
        "name": "pv",
        "unit": 1,
        "start": 0,
        "quantity": 8,
        "fingerprint": pv.map.fingerprint,
        "reads": True,
        "identifies": True,
        "silent": False,
        **changes,
    }
    announcement = probe.PDU.hex()
    return {"host": "127.0.0.1", "port": port, "seconds": 0, "announcement": announcement, "meters": [meter]}


def test_the_proof_of_a_rollout_and_the_doctor_are_not_counted(reading_only: Program) -> None:
    port = reading_only.port()
    [pv] = Config().meters
    assert prove({**proof_target(port), "seconds": PATIENCE}) == []
    assert prove(proof_target(port, fingerprint="00000000")) == [
        f"meter pv, unit 1: the register map's fingerprint is {pv.map.fingerprint} instead of 00000000"
    ]
    assert prove(proof_target(port, unit=9)) == [
        "meter pv, unit 9: a read is answered with exception 0x0B",
        f"meter pv, unit 9: the register map's fingerprint is exception 0x0B instead of {pv.map.fingerprint}",
    ]
    assert prove(proof_target(port, unit=9, silent=True, identifies=False)) == []
    assert doctors_answer("127.0.0.1", port, pv).status is not None
    assert doctors_answer("127.0.0.1", port, pv._replace(unit_id=9)).reason == "exception 0x0B"
    reading_only.wait_for(r"^\[PROBE\]")
    reading_only.stop()
    assert totals(reading_only) == "Received: 0 | Served: 0 | Refused: 0 | Exceptions: 0 | Connections: 0"
