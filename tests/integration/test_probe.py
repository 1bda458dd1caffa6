"""`smart-meter probe` at concentrators of all kinds and at others' servers: nothing changes there."""

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
    """Answer the requests of one connection in a thread; no answer at all where it is empty."""
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
    """Return a concentrator with a sample in it, and how it answers the client that probes it."""
    config = Config(meters=(MeterConfig("pv", 1, PV_MAP, access=rules, on_stale=on_stale),))
    made = Concentrator(config, lambda _: None, lambda: 100.0, lambda: 0.0)
    session = made.admit("192.168.1.50")
    assert session is not None
    return made, lambda request: sent(session.respond(request))


@pytest.mark.parametrize(("code", "detail"), [(16, "read and written"), (6, "6"), (22, "22"), (23, "23")])
def test_a_rule_of_single_function_codes_is_found_with_its_code(code: int, detail: str) -> None:
    made, answer = concentrator(AccessRule("field", (), Access.READ_WRITE, frozenset({3, code})))
    finding = found(answer)
    expected = detail if code == 16 else f"read, and written with function code {code}, not with 16"
    assert finding == Finding(READ_WRITE, f"registers 0 to 7 can be {expected}")
    assert_untouched(made)


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (Access.READ, READ_ONLY),
        (Access.READ_WRITE, READ_WRITE),
        (Access.WRITE, OTHER),
        (Access.NONE, OTHER),
    ],
)
def test_each_access_is_found(access: Access, expected: str) -> None:
    made, answer = concentrator(AccessRule("field", (), access))
    assert found(answer).found == expected
    assert_untouched(made)


def test_a_stale_meter_is_found_as_such_by_the_acceptance() -> None:
    made, answer = concentrator(on_stale=OnStale.EXCEPTION)
    finding = found(answer)
    assert finding.found == OTHER
    # As roles/concentrator/tasks/verify.yml looks for it.
    assert "exception 0x0B" in finding.detail
    assert_untouched(made)


def assert_untouched(made: Concentrator) -> None:
    [meter] = made.meters
    counted = made.statistics
    assert meter.sample == bytes(16)
    assert (meter.samples, meter.refused, counted.received, counted.served) == (0, 0, 0, 0)
    assert (counted.refused, counted.exceptions, counted.connections) == (0, 0, 0)


@pytest.mark.parametrize(("access", "expected"), [(Access.READ, READ_ONLY), (Access.READ_WRITE, READ_WRITE)])
def test_a_concentrator_that_knows_no_probes_is_not_written_to_either(
    access: Access, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smart_meter.concentrator.session.announces", lambda _: False)
    made, answer = concentrator(AccessRule("field", (), access))
    assert found(answer).found == expected
    [meter] = made.meters
    assert (meter.sample, meter.samples, meter.partial_writes) == (bytes(16), 0, 0)


class Other:
    """Another's server: its registers, and what it makes of requests that are not as they should be."""

    def __init__(self, *, knows: tuple[int, ...], deaf_to_bad: bool = False, careless: bool = False) -> None:
        self.bank = Bank(0, 8)
        self.bank.view = write(0)[13:]
        self._knows = knows
        self._deaf_to_bad = deaf_to_bad
        self._careless = careless
        self.writes: list[int] = []

    def answer(self, request: bytes) -> bytes:
        if request[7] not in self._knows:
            return exception(request, 1)
        if self._careless and request[7] in (6, 22):
            # It does not look at the length, and takes what lies behind the request for the values.
            request = request[:4] + b"\0\6" + (request[6:] + bytes(6))[: 14 if request[7] == 22 else 6]
        reply, _ = FUNCTIONS[request[7]].execute(self.bank, request, 0.0)
        return b"" if self._deaf_to_bad and reply[7] & 0x80 and request[7] in (6, 22) else reply


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Other(knows=(3,)), READ_ONLY),
        (Other(knows=(3, 6, 8, 16)), READ_WRITE),
        (Other(knows=(3, 6)), READ_WRITE),
        (Other(knows=(3, 6), careless=True), READ_WRITE),
        (Other(knows=(3, 22), careless=True), READ_WRITE),
        (Other(knows=(3, 6), deaf_to_bad=True), OTHER),
    ],
)
def test_no_other_server_is_written_to(server: Other, expected: str) -> None:
    held = server.bank.view
    assert found(server.answer).found == expected
    assert server.bank.view == held


def test_a_server_that_does_not_answer_the_announcement_is_none() -> None:
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


def test_a_probe_changes_nothing_and_counts_nowhere(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(SENTINEL.format(history=tmp_path / "history.db"))
    program = start("run", "--trial", "--port", "0", "--config", str(config))
    with program.connect() as client:
        client.ask(write(0, (7,)))
        program.wait_for(r"^\[STALE\]")
        before = client.ask(STATUS)
        # It is the only register: a probe that wrote it back would make the meter fresh, with a sentinel.
        for expect, code in (("read-write", 0), ("read-only", 1)):
            ended = run("probe", f"127.0.0.1:{program.port()}", "--config", str(config), "--expect", expect)
            assert (ended.returncode, ended.stderr) == (code, "")
        doctor = doctors_answer("127.0.0.1", program.port(), Config().meters[0]).status
        assert doctor is not None
        assert doctor.samples == 1
        assert client.ask(read(0, 1))[9:] == b"\xff\xff"
        # All but the age, which goes on.
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
    """Return the first totals of the last line."""
    return " | ".join(program.out.splitlines()[-1].split(" | ")[1:6]).partition(" (")[0]


def test_the_answer_as_json_has_what_the_acceptance_reads(reading_only: Program) -> None:
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


def test_the_proof_of_a_rollout_and_the_doctor_count_nowhere(reading_only: Program) -> None:
    port = reading_only.port()
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
    }
    assert prove({"host": "127.0.0.1", "port": port, "seconds": PATIENCE, "meters": [meter]}) == []
    other = {**meter, "fingerprint": "00000000"}
    assert prove({"host": "127.0.0.1", "port": port, "seconds": 0, "meters": [other]}) == [
        f"meter pv, unit 1: the map's fingerprint is {pv.map.fingerprint}, and should be 00000000"
    ]
    assert doctors_answer("127.0.0.1", port, pv).status is not None
    assert doctors_answer("127.0.0.1", port, pv._replace(unit_id=9)).reason == "exception 0x0B"
    reading_only.wait_for(r"^\[PROBE\]")
    reading_only.stop()
    assert totals(reading_only) == "Received: 0 | Served: 0 | Refused: 0 | Exceptions: 0 | Connections: 0"
