"""The log as text, for people."""

from __future__ import annotations

from collections.abc import Sequence

from smart_meter.config import Access, Config, ZoneConfig
from smart_meter.log.formatter import Direction, Listening, LogFormatter, came, missing
from smart_meter.log.throttle import Suppressed
from smart_meter.meters.assembly import Dropped
from smart_meter.meters.sample import Sample, iso_time
from smart_meter.meters.source import Source
from smart_meter.meters.statistics import Statistics
from smart_meter.modbus.attempt import Attempt
from smart_meter.registers.status_block import State

_RULE = "=" * 80


class TextFormatter(LogFormatter):
    """Formats events as text."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._maps = {meter.name: meter.map for meter in config.meters}
        self._several = len(config.meters) > 1

    def start(self, listening: Listening) -> str:
        config = self._config
        units = ", ".join(str(meter.unit_id) for meter in config.meters)
        where = f"{listening.host}:{listening.port}"
        text = [
            _RULE,
            f"{config.name} - Smart Meter / RTU Server Starting",
            _RULE,
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
        text.append(_RULE)
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

    def received(self, sample: Sample, peer: str, client: str, total: int) -> str:
        values = sample.values
        shown = " ".join(
            f"{m.name}={'-' if (value := values[m.name]) is None else m.format(value)}"
            for m in self._maps[sample.meter].measurements
            if m.name in values
        )
        when = iso_time(sample.arrived_wall if sample.measured is None else sample.measured)
        if sample.out_of_range:
            shown += f" | Out of range: {', '.join(sorted(sample.out_of_range))}"
        return f"[RX FROM {peer}] {self._meter(sample.meter)}{when} | {shown} | Total RX: {total}"

    def served(self, meter: str, peer: str, address: int, quantity: int, total: int, *, inputs: bool) -> str:
        what = f"{'input ' if inputs else ''}registers {address}-{address + quantity - 1}"
        return f"[TX TO {peer}] {self._meter(meter)}Served {what} | Total served: {total}"

    def summary(self, direction: Direction, peer: str, suppressed: int, seconds: float, total: int) -> str:
        if direction is Direction.RX:
            return f"[RX FROM {peer}] {suppressed} more samples in {seconds:.0f} s | Total RX: {total}"
        return f"[TX TO {peer}] Served {suppressed} more reads in {seconds:.0f} s | Total served: {total}"

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
        what = f"{attempt}: exception {exception:02X}, {reason}"
        where = "" if meter is None else self._meter(meter)
        return f"[REFUSED] {where}{peer} ({client}) {what}{_more(suppressed)}"

    def thinned(self, peer: str, client: str, meter: str, rate: float, suppressed: Suppressed) -> str:
        return (
            f"[THINNED] {meter}: {peer} ({client}) sends more than max_samples_per_second ({rate:g}): "
            f"readers get the sample, the history not{_more(suppressed)}"
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
        if meter is None:
            return f"[PROBE] {peer} ({client}) asks for unit {unit}, which no meter has{_more(suppressed)}"
        may = f"function codes {', '.join(map(str, functions))}" if functions else "no function code"
        return f"[PROBE] {self._meter(meter)}{peer} ({client}) may use {may}{_more(suppressed)}"

    def state(self, meter: str, state: State, age: float | None, incomplete: Dropped | None = None) -> str:
        if state is State.FRESH:
            return f"[FRESH] {meter}: samples come again"
        if state is State.RESTORED:
            how_old = "of unknown age" if age is None else f"{age:.0f} s old"
            return f"[RESTORED] {meter}: the last values from before the start, {how_old}"
        if state is State.WAITING:
            return f"[WAITING] {meter}: its register map changed, so it waits for a sample"
        text = f"[STALE] {meter}: " + ("no sample yet" if age is None else f"no sample for {age:.0f} s")
        return text if incomplete is None else f"{text}; {incomplete.source} {missing(incomplete)}"

    def incomplete(self, meter: str, dropped: Dropped, suppressed: Suppressed) -> str:
        what = f"{dropped.source} {came(dropped)}"
        seen = "; readers saw the registers" if dropped.visible else ""
        return f"[INCOMPLETE] {self._meter(meter)}{what}: no sample{seen}{_more(suppressed)}"

    def shown(self, meter: str, writes: int, suppressed: Suppressed) -> str:
        what = f"readers got values before every value came once ({writes} writes)"
        return f"[INCOMPLETE] {self._meter(meter)}{what}{_more(suppressed)}"

    def writer(self, meter: str, earlier: Source | None, source: Source, suppressed: Suppressed) -> str:
        if earlier is None:
            return f"[WRITER] {meter}: {source} writes it{_more(suppressed)}"
        return f"[WRITER] {meter}: {source} writes it now, before it {earlier}{_more(suppressed)}"

    def two_writers(self, meter: str, first: Source, second: Source, suppressed: Suppressed) -> str:
        return (
            f"[TWO WRITERS] {meter}: {first} and {second} both write it; "
            f'writers = "one" would refuse the second{_more(suppressed)}'
        )

    def assumed_start(self, meter: str, source: Source, register: int, suppressed: Suppressed) -> str:
        return (
            f"[ASSUMED] {meter}: {source} has no clear pause, so its samples are assumed to begin with "
            f"register {register}; set sample_starts_at if that is wrong{_more(suppressed)}"
        )

    def slow_writer(self, meter: str, source: Source, sample_gap: float, suppressed: Suppressed) -> str:
        return (
            f"[SLOW] {meter}: {source} takes more than sample_gap ({sample_gap:g} s) between two writes, so "
            f'no sample is complete; raise sample_gap, or set complete = "any"{_more(suppressed)}'
        )

    def closed(self, peer: str, client: str, reason: str, suppressed: Suppressed) -> str:
        return f"[CLOSED] {peer} ({client}): {reason}{_more(suppressed)}"

    def unknown_client(self, client: str, suppressed: Suppressed) -> str:
        return f"[CLOSED] {client} is in no zone{_more(suppressed)}"

    def bad_frame(self, peer: str, client: str, reason: str, suppressed: Suppressed) -> str:
        return f"[CLOSED] {peer} ({client}) sent a bad frame: {reason}{_more(suppressed)}"

    def address(self, zone: ZoneConfig, *, present: bool) -> str:
        if present:
            return f"[ADDRESS] {zone.address} of zone {zone.name} is here now ({zone.interface})"
        return (
            f"[NO ADDRESS] {zone.address} of zone {zone.name} is not on this machine: "
            f"{zone.peer} can't connect. "
            f"Look at {zone.interface} with `ip -br addr` and `nmcli device status`"
        )

    def statistics(self, totals: Statistics, age: float | None, *, final: bool) -> str:
        last = "none yet" if age is None else f"{age:.1f} s ago"
        rare = "".join(
            f" | {name}: {number}"
            for name, number in (
                ("Evicted", totals.evicted),
                ("Timed out", totals.timed_out),
                ("Stored", totals.stored),
                ("Not stored", totals.not_stored),
                ("Thinned", totals.thinned),
            )
            if number
        )
        return (
            f"[STATS] {'Stopped | ' if final else ''}Received: {totals.received} | Served: {totals.served}"
            f" | Refused: {totals.refused} | Exceptions: {totals.exceptions}"
            f" | Connections: {totals.connections} (now {totals.open_connections})"
            f" | Bad frames: {totals.bad_frames} | Unknown clients: {totals.unknown_clients}{rare}"
            f" | Last sample: {last}"
        )

    def lost(self, lines: int) -> str:
        return f"[JOURNAL] {lines} lines could not be printed and were left out"

    def notice(self, text: str) -> str:
        return text

    def _meter(self, name: str) -> str:
        return f"{name} | " if self._several else ""


def _more(suppressed: Suppressed) -> str:
    own, others = suppressed
    parts = [f"{own} more since the last such line"] if own else []
    if others:
        parts.append(f"{others} {'' if own else 'more '}by other addresses")
    return f" (and {', and '.join(parts)})" if parts else ""
