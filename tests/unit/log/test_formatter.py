import json
from typing import Any

import pytest

from smart_meter.config import FIELD_ZONE, Access, Config, JournalConfig, LogFormat, MeterConfig, ServerConfig
from smart_meter.log.formatter import Direction, Listening
from smart_meter.log.make_formatter import make_formatter
from smart_meter.log.throttle import Suppressed
from smart_meter.meters.assembly import Dropped
from smart_meter.meters.sample import Sample
from smart_meter.meters.source import Source
from smart_meter.meters.statistics import PeerTotals, Statistics
from smart_meter.modbus.attempt import Attempt
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.status_block import State

BANNER = """\
================================================================================
RPI#1 - Smart Meter / RTU Server Starting
================================================================================
Architecture:
  ESP32 → RPI#1: WiFi, Modbus TCP (writes data)
  RPI#1 ← Opta: Ethernet, Modbus TCP (reads data)

Configuration:
  TCP Server: 0.0.0.0:502
  Unit ID: 1
  Interfaces: WiFi (192.168.1.100) + Ethernet (192.168.2.100)
================================================================================
Statistics task created
Starting Modbus TCP server on 0.0.0.0:502...
Waiting for:
  - ESP32 to write data (WiFi interface)
  - Opta to read data (Ethernet interface)"""

SAMPLE = Sample(
    "pv",
    {"P_ac": 250, "P_dc": 260, "V_dc": 48.5, "I_dc": 5.36, "G": 850, "T_cell": 45.6},
    measured=1451628000,
    arrived=5.0,
    arrived_wall=1700000000.9,
)
NONE = Suppressed()
NOT_SUPPRESSED = {"suppressed": 0, "suppressed_others": 0}
TWO_METERS = Config(meters=(MeterConfig("pv-east", 1, PV_MAP), MeterConfig("pv-west", 2, PV_MAP)))
TOTALS = Statistics(
    refused=3,
    exceptions=2,
    connections=9,
    open_connections=4,
    bad_frames=1,
    unknown_clients=7,
    peers={"ESP32": PeerTotals(received=5), "OPTA": PeerTotals(served=6), "LOCALHOST": PeerTotals(served=1)},
)


def text(config: Config = Config()) -> Any:  # noqa: B008 - frozen
    return make_formatter(config, lambda: 1700000000.0)


def record(line: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line)
    assert "\n" not in line
    assert parsed.pop("time") == "2023-11-14T22:13:20+00:00"
    return parsed


def as_json() -> Any:
    return make_formatter(Config(journal=JournalConfig(LogFormat.JSON)), lambda: 1700000000.0)


def test_the_banner_is_the_documented_one_byte_for_byte() -> None:
    assert text().start(Listening(ServerConfig().host, 502)) == BANNER


def test_the_line_of_a_sample_is_the_documented_one_byte_for_byte() -> None:
    assert text().received(SAMPLE, "ESP32", "192.168.1.50", 1) == (
        "[RX FROM ESP32] 2016-01-01T06:00:00+00:00 | "
        "P_ac=250.0W P_dc=260.0W V_dc=48.50V I_dc=5.36A G=850.0W/m² T_cell=45.6°C | Total RX: 1"
    )


def test_the_line_of_a_read_is_the_documented_one_byte_for_byte() -> None:
    assert (
        text().served("pv", "OPTA", 0, 8, 1, inputs=False)
        == "[TX TO OPTA] Served registers 0-7 | Total served: 1"
    )


def test_no_value_is_a_dash_in_text_and_null_in_json() -> None:
    sample = SAMPLE._replace(values={**SAMPLE.values, "T_cell": None}, out_of_range=frozenset({"T_cell"}))
    assert " T_cell=- | Out of range: T_cell | Total RX: 1" in text().received(
        sample, "ESP32", "192.168.1.50", 1
    )
    written = record(as_json().received(sample, "ESP32", "192.168.1.50", 1))
    assert (written["values"]["T_cell"], written["out_of_range"]) == (None, ["T_cell"])


def test_with_several_meters_each_line_names_its_own() -> None:
    several = text(TWO_METERS)
    sample = SAMPLE._replace(meter="pv-east")
    assert several.received(sample, "ESP32", "192.168.1.50", 2).startswith(
        "[RX FROM ESP32] pv-east | 2016-01-01T06:00:00+00:00 | P"
    )
    assert several.served("pv-west", "OPTA", 3, 1, 4, inputs=False) == (
        "[TX TO OPTA] pv-west | Served registers 3-3 | Total served: 4"
    )
    assert "  Unit IDs: 1, 2\n" in several.start(Listening(ServerConfig().host, 502))


def test_without_a_timestamp_in_the_map_the_time_of_arrival_is_logged() -> None:
    plain = RegisterMap((Measurement("x", 0, decimals=0),))
    sample = Sample("m", {"x": 7}, None, 5.0, 1700000000.9)
    line = text(Config(meters=(MeterConfig("m", 1, plain),))).received(sample, "ESP32", "192.168.1.50", 1)
    assert line == "[RX FROM ESP32] 2023-11-14T22:13:20+00:00 | x=7 | Total RX: 1"


def test_the_banner_follows_the_configuration() -> None:
    zone = FIELD_ZONE._replace(peer="PLC 7", medium="Fibre", access=Access.READ)
    config = Config(name="roof", journal=JournalConfig(statistics_interval=0), zones=(FIELD_ZONE, zone))
    banner = text(config).start(Listening("127.0.0.1", 1502, trial=True))
    assert "\n  roof ← PLC 7: Fibre, Modbus TCP (reads data)\n" in banner
    assert "\n  - PLC 7 to read data (Fibre interface)" in banner
    assert "\n  TCP Server: 127.0.0.1:1502\n" in banner
    assert "Statistics task created" not in banner
    assert "\n  Trial: this machine's own programs may write and read\n" in banner


@pytest.mark.parametrize(("age", "shown"), [(12.34, "12.3 s ago"), (None, "none yet")])
def test_the_statistics_line_sums_up_all_peers(age: float | None, shown: str) -> None:
    assert text().statistics(TOTALS, age, final=False) == (
        "[STATS] Received: 5 | Served: 7 | Refused: 3 | Exceptions: 2 | Connections: 9 (now 4)"
        f" | Bad frames: 1 | Unknown clients: 7 | Last sample: {shown}"
    )


def test_the_last_statistics_line_is_marked() -> None:
    assert text().statistics(TOTALS, None, final=True).startswith("[STATS] Stopped | Received: 5 |")


def test_a_line_names_how_many_were_suppressed_before_it() -> None:
    line = "[CLOSED] 10.0.0.5 is in no zone"
    assert text().unknown_client("10.0.0.5", NONE) == line
    assert text().unknown_client("10.0.0.5", Suppressed(41)) == (
        f"{line} (and 41 more since the last such line)"
    )
    assert (
        text().unknown_client("10.0.0.5", Suppressed(0, 812)) == f"{line} (and 812 more by other addresses)"
    )
    assert text().unknown_client("10.0.0.5", Suppressed(41, 812)) == (
        f"{line} (and 41 more since the last such line, and 812 by other addresses)"
    )
    assert record(as_json().unknown_client("10.0.0.5", Suppressed(41, 812))) == {
        "event": "unknown_client",
        "client": "10.0.0.5",
        "suppressed": 41,
        "suppressed_others": 812,
    }


def test_a_refused_write_is_logged_with_client_unit_function_registers_and_exception() -> None:
    attempt = Attempt(1, 16, 1, 8)
    reason = "the map has registers 0-7"
    line = "ESP32 (192.168.1.50) wrote registers 1-8 of unit 1 with function 16: exception 02, " + reason
    for config, begin in ((Config(), "[REFUSED] "), (TWO_METERS, "[REFUSED] pv-east | ")):
        refused = text(config).refused(
            "ESP32", "192.168.1.50", "pv-east", attempt, exception=2, reason=reason, suppressed=NONE
        )
        assert refused == begin + line
    assert record(
        as_json().refused("ESP32", "192.168.1.50", "pv", attempt, exception=2, reason="why", suppressed=NONE)
    ) == {
        "event": "refused",
        "peer": "ESP32",
        "client": "192.168.1.50",
        "meter": "pv",
        "unit": 1,
        "function": 16,
        "address": 1,
        "quantity": 8,
        "exception": 2,
        "reason": "why",
        **NOT_SUPPRESSED,
    }


def test_a_request_for_an_unknown_unit_names_no_meter() -> None:
    line = text(TWO_METERS).refused(
        "ESP32",
        "192.168.1.50",
        None,
        Attempt(255, 16, 0, 8),
        exception=0x0B,
        reason="no meter has this unit",
        suppressed=NONE,
    )
    assert line == (
        "[REFUSED] ESP32 (192.168.1.50) wrote registers 0-7 of unit 255 with function 16: exception 0B, "
        "no meter has this unit"
    )


def test_samples_that_are_left_out_of_the_history_are_logged_with_their_client() -> None:
    assert text().thinned("ESP32", "192.168.1.50", "pv", 10, Suppressed(9)) == (
        "[THINNED] pv: ESP32 (192.168.1.50) sends more than max_samples_per_second (10): readers get the "
        "sample, the history not (and 9 more since the last such line)"
    )
    assert record(as_json().thinned("ESP32", "192.168.1.50", "pv", 10, NONE)) == {
        "event": "thinned",
        "peer": "ESP32",
        "client": "192.168.1.50",
        "meter": "pv",
        "max_samples_per_second": 10,
        **NOT_SUPPRESSED,
    }


def test_a_value_out_of_range_is_named_in_its_line() -> None:
    sample = SAMPLE._replace(out_of_range=frozenset({"T_cell", "G"}))
    assert (
        text()
        .received(sample, "ESP32", "192.168.1.50", 1)
        .endswith("T_cell=45.6°C | Out of range: G, T_cell | Total RX: 1")
    )
    assert record(as_json().received(sample, "ESP32", "192.168.1.50", 1))["out_of_range"] == ["G", "T_cell"]


def test_json_has_null_for_a_value_that_is_not_finite() -> None:
    sample = SAMPLE._replace(values={"x": float("nan"), "y": float("inf"), "z": 1.5})
    assert record(as_json().received(sample, "ESP32", "192.168.1.50", 1))["values"] == {
        "x": None,
        "y": None,
        "z": 1.5,
    }


def test_a_read_of_input_registers_is_marked() -> None:
    assert text().served("pv", "OPTA", 0, 13, 4, inputs=True) == (
        "[TX TO OPTA] Served input registers 0-12 | Total served: 4"
    )


def test_a_summary_counts_what_was_suppressed() -> None:
    assert text().summary(Direction.TX, "OPTA", 2900, 10.02, 3000) == (
        "[TX TO OPTA] Served 2900 more reads in 10 s | Total served: 3000"
    )
    assert text().summary(Direction.RX, "ESP32", 290, 10.02, 300) == (
        "[RX FROM ESP32] 290 more samples in 10 s | Total RX: 300"
    )
    assert record(as_json().summary(Direction.RX, "ESP32", 290, 10.02, 300)) == {
        "event": "rx_sum",
        "peer": "ESP32",
        "suppressed": 290,
        "seconds": 10.02,
        "total": 300,
    }


@pytest.mark.parametrize(
    ("state", "age", "line"),
    [
        (State.STALE, 60.0, "[STALE] pv: no sample for 60 s"),
        (State.STALE, None, "[STALE] pv: no sample yet"),
        (State.WAITING, None, "[WAITING] pv: its register map changed, so it waits for a sample"),
        (State.FRESH, 0.0, "[FRESH] pv: samples come again"),
        (State.RESTORED, 4.2, "[RESTORED] pv: the last values from before the start, 4 s old"),
        (State.RESTORED, None, "[RESTORED] pv: the last values from before the start, of unknown age"),
    ],
)
def test_a_change_of_freshness_names_the_meter(state: State, age: float | None, line: str) -> None:
    assert text().state("pv", state, age) == line
    assert record(as_json().state("pv", state, age))["state"] == state.name.lower()


ESP32, OTHER = Source("192.168.1.50", "ESP32"), Source("192.168.1.51", "ESP32")
HALF = Dropped(ESP32, frozenset(range(4)), frozenset({4, 5, 7}), "within 2 s", visible=False, silent=True)
RECORDED_HALF = {"peer": "ESP32", "client": "192.168.1.50", "written": "0-3", "missing": "4-5, 7"}


def test_a_stale_meter_names_what_is_missing() -> None:
    assert text().state("pv", State.STALE, 60.0, HALF) == (
        "[STALE] pv: no sample for 60 s; ESP32 (192.168.1.50) writes registers 0-3, and 4-5, 7 are missing"
    )
    assert record(as_json().state("pv", State.STALE, None, HALF)) == {
        "event": "state",
        "meter": "pv",
        "state": "stale",
        "age": None,
        **RECORDED_HALF,
    }


def test_an_incomplete_sample_is_logged_with_its_client_and_the_reason() -> None:
    assert text().incomplete("pv", HALF, NONE) == (
        "[INCOMPLETE] ESP32 (192.168.1.50) wrote registers 0-3 and not 4-5, 7 within 2 s: no sample"
    )
    again = HALF._replace(reason="its first register 0 came again", silent=False, visible=True)
    assert text(TWO_METERS).incomplete("pv-east", again, Suppressed(3)) == (
        "[INCOMPLETE] pv-east | ESP32 (192.168.1.50) wrote registers 0-3 and not 4-5, 7: its first register "
        "0 came again: no sample; readers saw the registers (and 3 more since the last such line)"
    )
    assert record(as_json().incomplete("pv", again, Suppressed(3))) == {
        "event": "incomplete",
        "meter": "pv",
        **RECORDED_HALF,
        "reason": "its first register 0 came again",
        "visible": True,
        "suppressed": 3,
        "suppressed_others": 0,
    }


def test_values_before_the_first_sample_are_logged() -> None:
    assert text(TWO_METERS).shown("pv-east", 3, NONE) == (
        "[INCOMPLETE] pv-east | readers got values before every value came once (3 writes)"
    )
    assert record(as_json().shown("pv", 3, NONE)) == {
        "event": "shown",
        "meter": "pv",
        "writes": 3,
        **NOT_SUPPRESSED,
    }


def test_the_writers_of_a_meter_are_logged() -> None:
    assert text().writer("pv", None, ESP32, NONE) == "[WRITER] pv: ESP32 (192.168.1.50) writes it"
    assert text().writer("pv", ESP32, OTHER, NONE) == (
        "[WRITER] pv: ESP32 (192.168.1.51) writes it now, before it ESP32 (192.168.1.50)"
    )
    assert text().two_writers("pv", ESP32, OTHER, NONE) == (
        "[TWO WRITERS] pv: ESP32 (192.168.1.50) and ESP32 (192.168.1.51) both write it; "
        'writers = "one" would refuse the second'
    )
    assert text().assumed_start("pv", ESP32, 0, NONE) == (
        "[ASSUMED] pv: ESP32 (192.168.1.50) has no clear pause, so its samples are assumed to begin with "
        "register 0; set sample_starts_at if that is wrong"
    )
    assert text().slow_writer("pv", ESP32, 2, NONE) == (
        "[SLOW] pv: ESP32 (192.168.1.50) takes more than sample_gap (2 s) between two writes, so no sample "
        'is complete; raise sample_gap, or set complete = "any"'
    )


def test_as_json_the_writers_of_a_meter_are_events() -> None:
    log = as_json()
    who = {"meter": "pv", "peer": "ESP32", "client": "192.168.1.50", **NOT_SUPPRESSED}
    assert record(log.writer("pv", None, ESP32, NONE)) == {"event": "writer", "earlier": None, **who}
    assert record(log.writer("pv", OTHER, ESP32, NONE))["earlier"] == "192.168.1.51"
    assert record(log.two_writers("pv", ESP32, OTHER, NONE)) == {
        "event": "two_writers",
        "meter": "pv",
        "clients": ["192.168.1.50", "192.168.1.51"],
        **NOT_SUPPRESSED,
    }
    assert record(log.assumed_start("pv", ESP32, 0, NONE)) == {"event": "assumed_start", "register": 0, **who}
    assert record(log.slow_writer("pv", ESP32, 2, NONE)) == {"event": "slow_writer", "sample_gap": 2, **who}


def test_rare_counters_are_in_the_statistics_line_unless_they_are_0() -> None:
    totals = Statistics(unknown_clients=7, evicted=1, timed_out=2, stored=3, not_stored=4, thinned=5)
    assert (
        "Unknown clients: 7 | Evicted: 1 | Timed out: 2 | Stored: 3 | Not stored: 4 | Thinned: 5 | Last"
        in text().statistics(totals, None, final=False)
    )
    assert record(as_json().statistics(totals, None, final=False))["thinned"] == 5


def test_a_closed_connection_is_logged_with_its_reason() -> None:
    assert text().closed("ESP32", "192.168.1.50", "it was idle for 300 s", Suppressed(1)) == (
        "[CLOSED] ESP32 (192.168.1.50): it was idle for 300 s (and 1 more since the last such line)"
    )


def test_a_bad_frame_is_logged_with_its_sender() -> None:
    assert text().bad_frame("ESP32", "192.168.1.50", "length 0, outside 2 to 254", NONE) == (
        "[CLOSED] ESP32 (192.168.1.50) sent a bad frame: length 0, outside 2 to 254"
    )


def test_a_missing_address_is_logged_with_its_interface_and_what_to_run() -> None:
    missing = text().address(FIELD_ZONE, present=False)
    assert missing.startswith(
        "[NO ADDRESS] 192.168.1.100 of zone field is not on this machine: ESP32 can't connect."
    )
    assert "wlan0" in missing
    assert "ip -br addr" in missing
    assert text().address(FIELD_ZONE, present=True) == (
        "[ADDRESS] 192.168.1.100 of zone field is here now (wlan0)"
    )


def test_as_json_each_event_is_one_object_on_one_line() -> None:
    log = as_json()
    assert record(log.received(SAMPLE, "ESP32", "192.168.1.50", 1)) == {
        "event": "rx",
        "peer": "ESP32",
        "client": "192.168.1.50",
        "meter": "pv",
        "measured": "2016-01-01T06:00:00+00:00",
        "arrived": "2023-11-14T22:13:20+00:00",
        "values": {"P_ac": 250, "P_dc": 260, "V_dc": 48.5, "I_dc": 5.36, "G": 850, "T_cell": 45.6},
        "out_of_range": [],
        "total": 1,
    }
    assert record(log.served("pv", "OPTA", 0, 8, 3, inputs=False)) == {
        "event": "tx",
        "peer": "OPTA",
        "meter": "pv",
        "registers": "holding",
        "address": 0,
        "quantity": 8,
        "total": 3,
    }
    start = record(log.start(Listening(ServerConfig().host, 502)))
    assert (start["event"], start["port"], start["meters"]) == ("start", 502, [{"name": "pv", "unit_id": 1}])
    assert [zone["access"] for zone in start["zones"]] == ["read-write", "read"]
    statistics = record(log.statistics(TOTALS, 1.23456, final=False))
    assert (statistics["event"], statistics["received"], statistics["last_sample_age"]) == (
        "statistics",
        5,
        1.235,
    )
    assert record(log.statistics(TOTALS, None, final=True))["event"] == "stop"
    assert record(log.closed("ESP32", "192.168.1.50", "why", Suppressed(3)))["suppressed"] == 3
    assert record(log.bad_frame("ESP32", "192.168.1.50", "why", NONE))["reason"] == "why"
    assert record(log.address(FIELD_ZONE, present=False))["present"] is False
    assert record(log.lost(9)) == {"event": "lost", "lines": 9}
    assert record(log.notice("a\nb")) == {"event": "notice", "text": "a\nb"}
