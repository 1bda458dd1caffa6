"""The log as JSON, for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from smart_meter.config import Config, ZoneConfig
from smart_meter.log.formatter import Direction, Listening, LogFormatter, spans
from smart_meter.log.throttle import Suppressed
from smart_meter.meters.assembly import Dropped
from smart_meter.meters.sample import Sample, iso_time
from smart_meter.meters.source import Source
from smart_meter.meters.statistics import Statistics
from smart_meter.modbus.attempt import Attempt
from smart_meter.registers.status_block import State


class JsonFormatter(LogFormatter):
    """Formats each event as one JSON object on one line, with the kind of `event` and the `time`."""

    def __init__(self, config: Config, wall: Callable[[], float]) -> None:
        self._config = config
        self._wall = wall

    def start(self, listening: Listening) -> str:
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

    def received(self, sample: Sample, peer: str, client: str, total: int) -> str:
        return self._object(
            "rx",
            peer=peer,
            client=client,
            meter=sample.meter,
            measured=None if sample.measured is None else iso_time(sample.measured),
            arrived=iso_time(sample.arrived_wall),
            # JSON has no not-a-number and no infinity.
            values={
                name: None if value is None or not math.isfinite(value) else value
                for name, value in sample.values.items()
            },
            out_of_range=sorted(sample.out_of_range),
            total=total,
        )

    def served(self, meter: str, peer: str, address: int, quantity: int, total: int, *, inputs: bool) -> str:
        kind = "input" if inputs else "holding"
        return self._object(
            "tx", peer=peer, meter=meter, registers=kind, address=address, quantity=quantity, total=total
        )

    def summary(self, direction: Direction, peer: str, suppressed: int, seconds: float, total: int) -> str:
        return self._object(
            f"{direction.value}_sum", peer=peer, suppressed=suppressed, seconds=round(seconds, 3), total=total
        )

    def refused(
        self,
        peer: str,
        client: str,
        meter: str | None,
        attempt: Attempt,
        *,
        exception: int,
        reason: str,
        suppressed: Suppressed,
    ) -> str:
        return self._object(
            "refused",
            peer=peer,
            client=client,
            meter=meter,
            unit=attempt.unit,
            function=attempt.function,
            address=attempt.address,
            quantity=attempt.quantity,
            exception=exception,
            reason=reason,
            **_left_out(suppressed),
        )

    def thinned(self, peer: str, client: str, meter: str, rate: float, suppressed: Suppressed) -> str:
        return self._object(
            "thinned",
            peer=peer,
            client=client,
            meter=meter,
            max_samples_per_second=rate,
            **_left_out(suppressed),
        )

    def probe(
        self,
        peer: str,
        client: str,
        meter: str | None,
        *,
        unit: int,
        functions: Sequence[int],
        suppressed: Suppressed,
    ) -> str:
        return self._object(
            "probe",
            peer=peer,
            client=client,
            meter=meter,
            unit=unit,
            functions=list(functions),
            **_left_out(suppressed),
        )

    def state(self, meter: str, state: State, age: float | None, incomplete: Dropped | None = None) -> str:
        return self._object(
            "state",
            meter=meter,
            state=state.name.lower(),
            age=None if age is None else round(age, 3),
            **({} if incomplete is None else _came(incomplete)),
        )

    def incomplete(self, meter: str, dropped: Dropped, suppressed: Suppressed) -> str:
        return self._object(
            "incomplete",
            meter=meter,
            **_came(dropped),
            reason=dropped.reason,
            visible=dropped.visible,
            **_left_out(suppressed),
        )

    def shown(self, meter: str, writes: int, suppressed: Suppressed) -> str:
        return self._object("shown", meter=meter, writes=writes, **_left_out(suppressed))

    def writer(self, meter: str, earlier: Source | None, source: Source, suppressed: Suppressed) -> str:
        return self._object(
            "writer",
            meter=meter,
            peer=source.peer,
            client=source.address,
            earlier=None if earlier is None else earlier.address,
            **_left_out(suppressed),
        )

    def two_writers(self, meter: str, first: Source, second: Source, suppressed: Suppressed) -> str:
        return self._object(
            "two_writers", meter=meter, clients=[first.address, second.address], **_left_out(suppressed)
        )

    def assumed_start(self, meter: str, source: Source, register: int, suppressed: Suppressed) -> str:
        return self._object(
            "assumed_start",
            meter=meter,
            peer=source.peer,
            client=source.address,
            register=register,
            **_left_out(suppressed),
        )

    def slow_writer(self, meter: str, source: Source, sample_gap: float, suppressed: Suppressed) -> str:
        return self._object(
            "slow_writer",
            meter=meter,
            peer=source.peer,
            client=source.address,
            sample_gap=sample_gap,
            **_left_out(suppressed),
        )

    def closed(self, peer: str, client: str, reason: str, suppressed: Suppressed) -> str:
        return self._object("closed", peer=peer, client=client, reason=reason, **_left_out(suppressed))

    def unknown_client(self, client: str, suppressed: Suppressed) -> str:
        return self._object("unknown_client", client=client, **_left_out(suppressed))

    def bad_frame(self, peer: str, client: str, reason: str, suppressed: Suppressed) -> str:
        return self._object("bad_frame", peer=peer, client=client, reason=reason, **_left_out(suppressed))

    def address(self, zone: ZoneConfig, *, present: bool) -> str:
        return self._object(
            "address", zone=zone.name, interface=zone.interface, address=str(zone.address), present=present
        )

    def statistics(self, totals: Statistics, age: float | None, *, final: bool) -> str:
        return self._object(
            "stop" if final else "statistics",
            received=totals.received,
            served=totals.served,
            refused=totals.refused,
            exceptions=totals.exceptions,
            connections=totals.connections,
            open_connections=totals.open_connections,
            bad_frames=totals.bad_frames,
            unknown_clients=totals.unknown_clients,
            evicted=totals.evicted,
            timed_out=totals.timed_out,
            stored=totals.stored,
            not_stored=totals.not_stored,
            thinned=totals.thinned,
            last_sample_age=None if age is None else round(age, 3),
        )

    def lost(self, lines: int) -> str:
        return self._object("lost", lines=lines)

    def notice(self, text: str) -> str:
        return self._object("notice", text=text)

    def _object(self, event: str, **fields: Any) -> str:
        record = {"event": event, "time": iso_time(self._wall()), **fields}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _came(dropped: Dropped) -> dict[str, Any]:
    return {
        "peer": dropped.source.peer,
        "client": dropped.source.address,
        "written": spans(dropped.written),
        "missing": spans(dropped.missing),
    }


def _left_out(suppressed: Suppressed) -> dict[str, int]:
    return {"suppressed": suppressed.own, "suppressed_others": suppressed.others}
