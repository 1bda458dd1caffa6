"""Formats the journal's lines as text or JSON. Pure: returns text, prints nothing."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from smart_meter.config import Access, Config, LogFormat, ZoneConfig
from smart_meter.meters.sample import Sample, iso_time
from smart_meter.meters.statistics import Statistics
from smart_meter.registers.status_block import State

RULE = "=" * 80


class Listening(NamedTuple):
    """Where the service listens, as it turned out."""

    host: str
    port: int
    trial: bool = False


class Direction(enum.Enum):
    """What came from a peer, or went to it."""

    RX = "rx"
    TX = "tx"


class Lines(Protocol):
    """The journal's language: each method returns what is to be printed for one event."""

    def start(self, listening: Listening) -> str:
        """Tell what was started and what it waits for."""

    def received(self, sample: Sample, peer: str, total: int) -> str:
        """Tell of a sample."""

    def served(self, meter: str, peer: str, address: int, quantity: int, total: int, *, inputs: bool) -> str:
        """Tell of a read of holding registers, or of input registers."""

    def summed_up(self, direction: Direction, peer: str, left_out: int, seconds: float, total: int) -> str:
        """Tell how many samples or reads were not told one by one."""

    def refused(
        self, peer: str, client: str, meter: str, function: int, *, reason: str, left_out: int
    ) -> str:
        """Tell of a request that the client may not make; `left_out` like it were not told before."""

    def probe(
        self,
        peer: str,
        client: str,
        meter: str | None,
        *,
        unit: int,
        functions: Sequence[int],
        left_out: int,
    ) -> str:
        """Return the line for a client that has announced itself as a probe of a unit identifier.

        functions: the codes that it may use there. meter: None where the unit identifier has none.
        """

    def state(self, meter: str, state: State, age: float | None) -> str:
        """Tell that a meter's freshness has changed; `age` of its last sample in seconds."""

    def closed(self, peer: str, client: str, reason: str, left_out: int) -> str:
        """Tell of a connection that was closed for what the client did not do, or to make room."""

    def stranger(self, client: str, left_out: int) -> str:
        """Tell of a client in no zone."""

    def bad_frame(self, peer: str, client: str, reason: str, left_out: int) -> str:
        """Tell of a connection whose stream was no Modbus."""

    def address(self, zone: ZoneConfig, *, present: bool) -> str:
        """Tell that this machine does not have its address in a zone, or has it again."""

    def statistics(self, totals: Statistics, age: float | None, *, final: bool) -> str:
        """Tell the totals; `age` of the last sample in seconds."""

    def lost(self, lines: int) -> str:
        """Tell how many lines could not be printed."""

    def notice(self, text: str) -> str:
        """Tell anything else."""


def lines(config: Config, wall: Callable[[], float]) -> Lines:
    """Return the language that the configuration asks for; `wall` gives Unix seconds."""
    return JsonLines(config, wall) if config.journal.format is LogFormat.JSON else TextLines(config)


class TextLines:
    """Lines for people."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._maps = {meter.name: meter.map for meter in config.meters}
        self._several = len(config.meters) > 1

    def start(self, listening: Listening) -> str:
        """Tell what was started and what it waits for."""
        config = self._config
        units = ", ".join(str(meter.unit_id) for meter in config.meters)
        where = f"{listening.host}:{listening.port}"
        text = [
            RULE,
            f"{config.name} - Smart Meter / RTU Server Starting",
            RULE,
            "Architecture:",
            *(f"  {self._direction(zone)}" for zone in config.zones),
            "",
            "Configuration:",
            f"  TCP Server: {where}",
            f"  Unit ID{'s' if self._several else ''}: {units}",
            f"  Interfaces: {' + '.join(f'{zone.medium} ({zone.address})' for zone in config.zones)}",
        ]
        if listening.trial:
            text.append("  Trial: this machine's own programs may write and read")
        text.append(RULE)
        if config.journal.statistics_interval > 0:
            text.append("Statistics task created")
        text += [
            f"Starting Modbus TCP server on {where}...",
            "Waiting for:",
            *(
                f"  - {zone.peer} to {'write' if zone.access is Access.READ_WRITE else 'read'} data "
                f"({zone.medium} interface)"
                for zone in config.zones
            ),
        ]
        return "\n".join(text)

    def _direction(self, zone: ZoneConfig) -> str:
        if zone.access is Access.READ_WRITE:
            return f"{zone.peer} → {self._config.name}: {zone.medium}, Modbus TCP (writes data)"
        return f"{self._config.name} ← {zone.peer}: {zone.medium}, Modbus TCP (reads data)"

    def received(self, sample: Sample, peer: str, total: int) -> str:
        """Tell of a sample."""
        values = sample.values
        shown = " ".join(
            f"{m.name}={m.format(values[m.name])}"
            for m in self._maps[sample.meter].measurements
            if m.name in values
        )
        when = iso_time(sample.arrived_wall if sample.measured is None else sample.measured)
        if sample.out_of_range:
            shown += f" | Out of range: {', '.join(sorted(sample.out_of_range))}"
        return f"[RX FROM {peer}] {self._meter(sample.meter)}{when} | {shown} | Total RX: {total}"

    def served(self, meter: str, peer: str, address: int, quantity: int, total: int, *, inputs: bool) -> str:
        """Tell of a read of holding registers, or of input registers."""
        what = f"{'input ' if inputs else ''}registers {address}-{address + quantity - 1}"
        return f"[TX TO {peer}] {self._meter(meter)}Served {what} | Total served: {total}"

    def summed_up(self, direction: Direction, peer: str, left_out: int, seconds: float, total: int) -> str:
        """Tell how many samples or reads were not told one by one."""
        if direction is Direction.RX:
            return f"[RX FROM {peer}] {left_out} more samples in {seconds:.0f} s | Total RX: {total}"
        return f"[TX TO {peer}] Served {left_out} more reads in {seconds:.0f} s | Total served: {total}"

    def refused(
        self, peer: str, client: str, meter: str, function: int, *, reason: str, left_out: int
    ) -> str:
        """Tell of a request that the client may not make; `left_out` like it were not told before."""
        return f"[REFUSED] {self._meter(meter)}{peer} ({client}) {reason}{_more(left_out)}"

    def probe(
        self,
        peer: str,
        client: str,
        meter: str | None,
        *,
        unit: int,
        functions: Sequence[int],
        left_out: int,
    ) -> str:
        """Return the line for a client that has announced itself as a probe of a unit identifier."""
        if meter is None:
            return f"[PROBE] {peer} ({client}) asks for unit {unit}, which no meter has{_more(left_out)}"
        may = f"function codes {', '.join(map(str, functions))}" if functions else "no function code"
        return f"[PROBE] {self._meter(meter)}{peer} ({client}) may use {may}{_more(left_out)}"

    def state(self, meter: str, state: State, age: float | None) -> str:
        """Tell that a meter's freshness has changed; `age` of its last sample in seconds."""
        if state is State.FRESH:
            return f"[FRESH] {meter}: samples come again"
        if state is State.RESTORED:
            told = "of unknown age" if age is None else f"{age:.0f} s old"
            return f"[RESTORED] {meter}: the last values from before the start, {told}"
        return f"[STALE] {meter}: " + ("no sample yet" if age is None else f"no sample for {age:.0f} s")

    def closed(self, peer: str, client: str, reason: str, left_out: int) -> str:
        """Tell of a connection that was closed for what the client did not do, or to make room."""
        return f"[CLOSED] {peer} ({client}): {reason}{_more(left_out)}"

    def stranger(self, client: str, left_out: int) -> str:
        """Tell of a client in no zone."""
        return f"[CLOSED] {client} is in no zone{_more(left_out)}"

    def bad_frame(self, peer: str, client: str, reason: str, left_out: int) -> str:
        """Tell of a connection whose stream was no Modbus."""
        return f"[CLOSED] {peer} ({client}) sent a bad frame: {reason}{_more(left_out)}"

    def address(self, zone: ZoneConfig, *, present: bool) -> str:
        """Tell that this machine does not have its address in a zone, or has it again."""
        if present:
            return f"[ADDRESS] {zone.address} of zone {zone.name} is here now ({zone.interface})"
        return (
            f"[NO ADDRESS] {zone.address} of zone {zone.name} is not on this machine: "
            f"{zone.peer} can't connect. "
            f"Look at {zone.interface} with `ip -br addr` and `nmcli device status`"
        )

    def statistics(self, totals: Statistics, age: float | None, *, final: bool) -> str:
        """Tell the totals; `age` of the last sample in seconds."""
        last = "none yet" if age is None else f"{age:.1f} s ago"
        seldom = "".join(
            f" | {name}: {number}"
            for name, number in (
                ("Gave way", totals.gave_way),
                ("Timed out", totals.expired),
                ("Stored", totals.stored),
                ("Not stored", totals.not_stored),
            )
            if number
        )
        return (
            f"[STATS] {'Stopped | ' if final else ''}Received: {totals.received} | Served: {totals.served}"
            f" | Refused: {totals.refused} | Exceptions: {totals.exceptions}"
            f" | Connections: {totals.connections} (now {totals.open_connections})"
            f" | Bad frames: {totals.bad_frames} | Strangers closed: {totals.strangers}{seldom}"
            f" | Last sample: {last}"
        )

    def lost(self, lines: int) -> str:
        """Tell how many lines could not be printed."""
        return f"[JOURNAL] {lines} lines could not be printed and were left out"

    def notice(self, text: str) -> str:
        """Tell anything else."""
        return text

    def _meter(self, name: str) -> str:
        return f"{name} | " if self._several else ""


class JsonLines:
    """One JSON object a line, for machines; each names its `event` and the `time` it was told."""

    def __init__(self, config: Config, wall: Callable[[], float]) -> None:
        self._config = config
        self._wall = wall

    def start(self, listening: Listening) -> str:
        """Tell what was started and what it waits for."""
        zones = [
            {
                "name": zone.name,
                "peer": zone.peer,
                "address": str(zone.address),
                "network": str(zone.network),
                "access": zone.access.value,
            }
            for zone in self._config.zones
        ]
        meters = [{"name": meter.name, "unit_id": meter.unit_id} for meter in self._config.meters]
        return self._object(
            "start",
            name=self._config.name,
            host=listening.host,
            port=listening.port,
            trial=listening.trial,
            zones=zones,
            meters=meters,
        )

    def received(self, sample: Sample, peer: str, total: int) -> str:
        """Tell of a sample."""
        return self._object(
            "rx",
            peer=peer,
            meter=sample.meter,
            measured=None if sample.measured is None else iso_time(sample.measured),
            arrived=iso_time(sample.arrived_wall),
            # JSON has no not-a-number and no infinity.
            values={name: value if math.isfinite(value) else None for name, value in sample.values.items()},
            out_of_range=sorted(sample.out_of_range),
            total=total,
        )

    def served(self, meter: str, peer: str, address: int, quantity: int, total: int, *, inputs: bool) -> str:
        """Tell of a read of holding registers, or of input registers."""
        kind = "input" if inputs else "holding"
        return self._object(
            "tx", peer=peer, meter=meter, registers=kind, address=address, quantity=quantity, total=total
        )

    def summed_up(self, direction: Direction, peer: str, left_out: int, seconds: float, total: int) -> str:
        """Tell how many samples or reads were not told one by one."""
        return self._object(
            f"{direction.value}_sum", peer=peer, left_out=left_out, seconds=round(seconds, 3), total=total
        )

    def refused(
        self, peer: str, client: str, meter: str, function: int, *, reason: str, left_out: int
    ) -> str:
        """Tell of a request that the client may not make; `left_out` like it were not told before."""
        return self._object(
            "refused",
            peer=peer,
            client=client,
            meter=meter,
            function=function,
            reason=reason,
            left_out=left_out,
        )

    def probe(
        self,
        peer: str,
        client: str,
        meter: str | None,
        *,
        unit: int,
        functions: Sequence[int],
        left_out: int,
    ) -> str:
        """Return the line for a client that has announced itself as a probe of a unit identifier."""
        return self._object(
            "probe",
            peer=peer,
            client=client,
            meter=meter,
            unit=unit,
            functions=list(functions),
            left_out=left_out,
        )

    def state(self, meter: str, state: State, age: float | None) -> str:
        """Tell that a meter's freshness has changed; `age` of its last sample in seconds."""
        return self._object(
            "state", meter=meter, state=state.name.lower(), age=None if age is None else round(age, 3)
        )

    def closed(self, peer: str, client: str, reason: str, left_out: int) -> str:
        """Tell of a connection that was closed for what the client did not do, or to make room."""
        return self._object("closed", peer=peer, client=client, reason=reason, left_out=left_out)

    def stranger(self, client: str, left_out: int) -> str:
        """Tell of a client in no zone."""
        return self._object("stranger", client=client, left_out=left_out)

    def bad_frame(self, peer: str, client: str, reason: str, left_out: int) -> str:
        """Tell of a connection whose stream was no Modbus."""
        return self._object("bad_frame", peer=peer, client=client, reason=reason, left_out=left_out)

    def address(self, zone: ZoneConfig, *, present: bool) -> str:
        """Tell that this machine does not have its address in a zone, or has it again."""
        return self._object(
            "address", zone=zone.name, interface=zone.interface, address=str(zone.address), present=present
        )

    def statistics(self, totals: Statistics, age: float | None, *, final: bool) -> str:
        """Tell the totals; `age` of the last sample in seconds."""
        return self._object(
            "stop" if final else "statistics",
            received=totals.received,
            served=totals.served,
            refused=totals.refused,
            exceptions=totals.exceptions,
            connections=totals.connections,
            open_connections=totals.open_connections,
            bad_frames=totals.bad_frames,
            strangers=totals.strangers,
            gave_way=totals.gave_way,
            expired=totals.expired,
            stored=totals.stored,
            not_stored=totals.not_stored,
            last_sample_age=None if age is None else round(age, 3),
        )

    def lost(self, lines: int) -> str:
        """Tell how many lines could not be printed."""
        return self._object("lost", lines=lines)

    def notice(self, text: str) -> str:
        """Tell anything else."""
        return self._object("notice", text=text)

    def _object(self, event: str, **fields: Any) -> str:
        record = {"event": event, "time": iso_time(self._wall()), **fields}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _more(left_out: int) -> str:
    return f" (and {left_out} more like it since it was last told)" if left_out else ""
