"""Puts a sample together that one connection writes in parts, so that it never mixes two cycles.

Pure: the time is an argument. Registers of gaps in the map take no part.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from smart_meter.meters.rhythm import CLEAR, TOGETHER, Basis, Rhythm
from smart_meter.meters.source import Source

_PARTS = 4
"""An assembly is given up after so many writes for each register of the map."""


class Request(NamedTuple):
    """A write, as it is compared with the one before and put into an assembly."""

    key: Hashable
    """Equal for equal requests: a client repeats one whose reply was lost."""
    address: int
    """Its first register."""
    end: int
    """The first register after it."""
    values: Mapping[int, int]
    """The registers of the map in it."""
    bits: int = 0
    """Those that it changes, if it changes bits only, as function code 22 does; 0: it sets registers."""


class Dropped(NamedTuple):
    """A sample that did not become whole."""

    source: Source
    written: frozenset[int]
    """The registers of the map that came."""
    missing: frozenset[int]
    reason: str
    visible: bool
    """Whether readers saw some of its values."""
    silent: bool = False
    """Whether the reason is that the writer was silent."""


class Stream:
    """What one connection writes in parts: at most one assembly at a time, and the writer's rhythm."""

    __slots__ = (
        "_addresses",
        "_expected",
        "_first",
        "_first_gap",
        "_headless",
        "_masked",
        "_parts",
        "_reported",
        "_request",
        "_taken",
        "closed",
        "last",
        "pending",
        "rhythm",
        "source",
        "visible",
    )

    def __init__(self, addresses: frozenset[int], rhythm: Rhythm, source: Source) -> None:
        """addresses: the map's registers."""
        self._addresses = addresses
        self._expected = addresses
        """The registers that the assembly needs."""
        self.rhythm = rhythm
        self.source = source
        self.closed = False
        """Whether the connection is gone: another one of the address may continue."""
        self.pending: dict[int, int] = {}
        """The registers of the assembly; empty: none is open."""
        self.visible = False
        """Whether readers saw some of them; the meter sets it."""
        self.last: float | None = None
        """When the last write came, in monotonic seconds."""
        self._parts: list[tuple[Request, float]] = []
        """The writes of the assembly, each with the seconds since the one before."""
        self._masked: dict[int, int] = {}
        """The bits of each pending register that were changed by themselves."""
        self._first = 0
        self._first_gap = 0.0
        self._headless = False
        """Whether the assembly lacks its beginning, so that it can't become a sample."""
        self._reported = False
        """Whether the assembly is the rest of one that was dropped already."""
        self._request: Hashable = None
        self._taken: dict[int, int] = {}
        """The registers of the last whole sample: its end may be sent again."""

    def write(self, request: Request, now: float, dropped: list[Dropped]) -> bool:
        """Add a write; return whether `pending` is a whole sample, which the caller takes with `take`.

        dropped: gets what is given up.
        """
        rhythm = self.rhythm
        gap = None if self.last is None else now - self.last
        if gap is not None and gap >= rhythm.silence:
            # Before the comparison with the last request: after a lost cycle an equal one is not a retry.
            self.give_up_silent(dropped)
            self._request = None
        self.last = now
        key = request.key
        if key == self._request:
            return False
        self._request = key
        if not request.values:
            return False
        bits = request.bits
        if bits and self.changes_bits(request.address, bits):
            self._merge(request, gap or 0.0)
        else:
            if rhythm.observe(request.address, request.values, gap):
                self._begin_where_learned(dropped)
            self._place(request, gap or 0.0, dropped)
        if bits:
            self._masked[request.address] = self._masked.get(request.address, 0) | bits
        return len(self.pending) == len(self._addresses) and self._is_whole(dropped)

    def copy(self) -> Stream:
        """Return a stream in the same state, on which a write can be tried."""
        other = Stream(self._addresses, self.rhythm.copy(), self.source)
        other.pending, other.last = dict(self.pending), self.last
        other._parts, other._masked = list(self._parts), dict(self._masked)
        other._first, other._first_gap = self._first, self._first_gap
        other._headless, other._reported = self._headless, self._reported
        other._request, other._taken, other._expected = self._request, self._taken, self._expected
        return other

    def own(self, address: int, bits: int, now: float) -> dict[int, int]:
        """Return the pending registers that a change of bits refers to; none if it is of another cycle."""
        again = address in self.pending and not self.changes_bits(address, bits)
        return {} if again or self.silent(now) else self.pending

    def changes_bits(self, address: int, bits: int) -> bool:
        """Whether bits of a register are changed within the open assembly.

        They are not if the register comes again: as the assembly's first one, or with bits that came already.
        """
        first = self._first if self.rhythm.start is None else self.rhythm.start
        again = address == first and len(self._parts) > 1
        return address in self.pending and not again and not self._masked.get(address, 0) & bits

    def write_values(
        self, request: Request, now: float, values: Mapping[int, range], dropped: list[Dropped]
    ) -> dict[int, int]:
        """Return the registers of each value that a write makes whole, where each write is a sample.

        values: by each register of the map, the registers of its value. One that takes several registers may
        come in several writes, the lowest register first. dropped: gets what is given up.
        """
        if self.silent(now):
            self.give_up_silent(dropped)
            self._request = None
        self.last = now
        if request.key == self._request:
            return self._taken
        self._request = request.key
        self._taken = {}
        for register in sorted(request.values):
            registers = values[register]
            if register == registers.start:
                for earlier in registers:
                    self.pending.pop(earlier, None)
            elif register - 1 not in self.pending:
                # The rest of a value whose beginning was lost.
                continue
            self.pending[register] = request.values[register]
            if register == registers[-1]:
                self._taken |= {part: self.pending.pop(part) for part in registers}
        self._expected = frozenset(part for register in self.pending for part in values[register])
        return self._taken

    def take(self) -> dict[int, int]:
        """Return the pending registers, and begin with none."""
        self.rhythm.completed(tuple(dict.fromkeys([request.address for request, _ in self._parts])))
        self._taken, self.pending = self.pending, {}
        self._parts = []
        self._masked = {}
        self.visible = False
        return self._taken

    def incomplete(self) -> Dropped:
        """Return what there is of the open assembly, without a reason to drop it."""
        written = frozenset(self.pending)
        return Dropped(self.source, written, self._expected - written, "", self.visible)

    def give_up_silent(self, dropped: list[Dropped]) -> None:
        """Drop the open assembly because the writer was silent."""
        self.give_up(f"within {self.rhythm.silence:.3g} s", dropped, silent=True)

    def give_up(self, reason: str, dropped: list[Dropped], *, silent: bool = False) -> None:
        """Drop the open assembly, if there is one."""
        resent = self._headless and self.pending.items() <= self._taken.items()
        if self.pending and not self._reported and not resent:
            dropped.append(self.incomplete()._replace(reason=reason, silent=silent))
        self.pending = {}
        self._parts = []
        self._masked = {}
        self.visible = False
        self._reported = False

    def silent(self, now: float) -> bool:
        """Whether the writer has been silent for too long to continue its assembly."""
        return self.last is None or now - self.last >= self.rhythm.silence

    def belong_together(self, registers: Sequence[int]) -> bool:
        """Whether pending registers are certainly of one cycle, so that readers may see them as one value."""
        pending = self.pending
        for register in registers:
            if register not in pending:
                return False
        if self.rhythm.known:
            return True
        last, gap = self._parts[-1]
        if all(register in last.values for register in registers):
            return True
        if len(self._parts) == 1 or gap > TOGETHER:
            return False
        earlier, _ = self._parts[-2]
        return all(register in earlier.values or register in last.values for register in registers)

    def _begin_where_learned(self, dropped: list[Dropped]) -> None:
        """Give up an assembly that does not begin where samples begin, as is known by now."""
        rhythm = self.rhythm
        if self._first != rhythm.start or rhythm.basis is Basis.ASSUMED:
            self.give_up(f"its samples begin with register {rhythm.start}", dropped)

    def _place(self, request: Request, gap: float, dropped: list[Dropped]) -> None:
        start = self.rhythm.start
        if start is not None:
            if request.address <= start < request.end:
                if self.pending:
                    self._again(start, dropped)
                self._open(request, gap)
            elif not self.pending:
                self._open(request, gap, headless=True)
            elif self._contradicts(request.values):
                # After a beginning that came, what follows is the rest of a cycle that is given up already.
                reported = not self._headless
                self._conflict(request, dropped)
                self._open(request, gap, headless=True, reported=reported)
            elif self._begins_again(request):
                self.give_up(f"register {request.address} came after its turn", dropped)
                self._open(request, gap, headless=True)
            else:
                self._merge(request, gap)
        elif not self.pending:
            self._open(request, gap)
        elif self._contradicts(request.values):
            self._conflict(request, dropped)
            self._open(request, gap)
        elif request.address == self._first:
            self._again(self._first, dropped)
            self._open(request, gap)
        else:
            self._merge(request, gap)

    def _contradicts(self, values: Mapping[int, int]) -> bool:
        """Whether a pending register comes with another value."""
        pending = self.pending
        return not pending.keys().isdisjoint(values) and any(
            pending.get(a, v) != v for a, v in values.items()
        )

    def _begins_again(self, request: Request) -> bool:
        """Whether a write is of the next cycle, though its beginning did not come."""
        last, _ = self._parts[-1]
        if not self.rhythm.is_before(request.address, last.address):
            return False
        if request.values.keys() <= self.pending.keys():
            # It was sent again.
            return False
        self.rhythm.out_of_order()
        return True

    def _again(self, first: int, dropped: list[Dropped]) -> None:
        if self._headless:
            self.give_up(f"its first register {first} did not come", dropped)
        else:
            self.give_up(f"its first register {first} came again", dropped)

    def _conflict(self, request: Request, dropped: list[Dropped]) -> None:
        register = min(a for a, v in request.values.items() if self.pending.get(a, v) != v)
        self.give_up(f"register {register} came again with another value", dropped)

    def _open(self, request: Request, gap: float, *, headless: bool = False, reported: bool = False) -> None:
        self.pending = dict(request.values)
        self._parts = [(request, gap)]
        self._first, self._first_gap = request.address, gap
        self._headless, self._reported = headless, reported
        self.visible = False

    def _merge(self, request: Request, gap: float) -> None:
        self.pending.update(request.values)
        self._parts.append((request, gap))
        if len(self._parts) > _PARTS * len(self._addresses):
            # Registers that come again and again with the values that they have.
            self._headless = True
            del self._parts[:-2]

    def _is_whole(self, dropped: list[Dropped]) -> bool:
        """Whether the assembly, which has every register, is a sample."""
        if self._headless:
            return False
        rhythm = self.rhythm
        if rhythm.known or len(self._parts) == 1:
            return True
        even = self._is_even()
        if rhythm.basis is Basis.ASSUMED:
            if not even:
                self.give_up("there was a pause within it", dropped)
            return even
        if even and self._first == min(self._addresses):
            return True
        self._keep_last()
        return False

    def _is_even(self) -> bool:
        """Whether the writes of the assembly came without a clear pause between them."""
        gaps = [gap for _, gap in self._parts[1:]]
        if max(gaps) <= TOGETHER:
            return True
        if len(gaps) == 1:
            return self.rhythm.basis is Basis.ASSUMED and gaps[0] < CLEAR * self._first_gap
        # Compared with the shorter ones: many late writes must not hide a pause.
        return max(gaps) < CLEAR * sorted(gaps)[len(gaps) // 4]

    def _keep_last(self) -> None:
        """Keep what came after the longest gap: a cycle may begin there."""
        parts = self._parts
        index = max(range(1, len(parts)), key=lambda i: parts[i][1])
        self.pending = {}
        self._parts = parts[index:]
        self._masked = {}
        for request, _ in self._parts:
            self.pending.update(request.values)
        first, self._first_gap = self._parts[0]
        self._first = first.address
