"""No published sample and no row of the history mixes two cycles or two clients, whatever the clients do.

A client writes its cycles in any order. Replies get lost, so that it sends a write again; writes get lost;
connections end in the middle, or there is one for each write; several clients write at the same time. The
first register of a cycle is configured, or the clients pause for longer than any delay.
"""

import struct
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.concentrator.session import Session
from smart_meter.config import Config, JournalConfig, MeterConfig, Publish
from smart_meter.registers.register_map import Measurement, RegisterMap
from tests.unit.meters.parts import MAP, cycles, value
from tests.unit.wire import sent, write

EIGHT = RegisterMap(tuple(Measurement(f"m{register}", register) for register in MAP))
GAP = 2.0
CYCLES = 8


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with one write of a client."""

    cycle: int
    index: int
    kind: str
    """again, lost, end (it and the rest of its cycle are lost, and silence follows), reconnect, half open."""
    delay: float
    """A part of what the client may be late, from 0 to 1."""


@dataclass(frozen=True)
class Client:
    """A program that writes the map in parts."""

    address: str
    order: tuple[range, ...]
    gap: float
    pause: float
    begins: float
    joins: int
    """How many writes its first cycle lacks."""
    single: bool
    """Whether it opens a connection for each write."""
    troubles: tuple[Trouble, ...]

    def writes(self, number: int) -> list[tuple[float, int, str, int, tuple[int, ...]]]:
        """Return when each write arrives, its client, what its connection went through, and the registers."""
        found = []
        now = self.begins
        for cycle in range(CYCLES):
            here = {t.index % len(self.order): t for t in self.troubles if t.cycle == cycle}
            for index, span in enumerate(self.order):
                if cycle == 0 and index < self.joins % len(self.order):
                    continue
                trouble = here.get(index)
                now += self.gap if index else self.pause
                if trouble is None or trouble.kind not in ("lost", "end"):
                    registers = tuple(value(number, cycle, register) for register in span)
                    before = "new" if self.single else "" if trouble is None else trouble.kind
                    found.append((now, number, before, span.start, registers))
                    if trouble is not None and trouble.kind == "again":
                        now += trouble.delay * min(self.pause, GAP) / 3.1
                        found.append((now, number, "new" if self.single else "", span.start, registers))
                elif trouble.kind == "end":
                    now += GAP
                    break
        return found


class Run:
    """A concentrator with one meter, whose samples and rows are kept."""

    backlog = 0

    def __init__(self, start: int | None, publish: Publish) -> None:
        self.now = 0.0
        self.rows: list[bytes] = []
        config = Config(
            meters=(MeterConfig("pv", 1, EIGHT, publish=publish, sample_starts_at=start),),
            journal=JournalConfig(lines_per_second=0),
        )
        self.concentrator = Concentrator(config, lambda _: None, lambda: self.now, lambda: 0.0)
        self.concentrator.use_sink(self, durable=False)
        self.sessions: dict[int, Session] = {}

    def record(self, _meter: str, _now: float, registers: bytes, *_: object) -> int:
        self.rows.append(registers)
        return len(self.rows)

    def stored_up_to(self, _: int) -> bool:
        return True

    def session(self, number: int, address: str, before: str) -> Session:
        current = self.sessions.get(number)
        if current is not None and before in ("new", "reconnect"):
            current.closed()
        if current is None or before in ("new", "reconnect", "half open"):
            opened = self.concentrator.admit(address)
            assert opened is not None
            current = self.sessions[number] = opened
        return current

    def play(self, clients: tuple[Client, ...]) -> None:
        writes = [write for number, client in enumerate(clients) for write in client.writes(number)]
        for now, number, before, address, registers in sorted(writes):
            self.now = 1000.0 + now
            self.concentrator.tick()
            session = self.session(number, clients[number].address, before)
            assert sent(session.respond(write(address, registers)))[7] == 0x10


def parts_of(order: list[int], cuts: set[int]) -> tuple[range, ...]:
    """Return the writes of a cycle: registers that follow one another may be one write."""
    found: list[range] = []
    for place, register in enumerate(order):
        if found and place in cuts and register == found[-1].stop:
            found[-1] = range(found[-1].start, register + 1)
        else:
            found.append(range(register, register + 1))
    return tuple(found)


orders = st.builds(
    parts_of,
    st.one_of(
        st.just(list(MAP)),
        st.just(list(MAP[::-1])),
        st.just([6, 7, *MAP[:6]]),
        st.permutations(list(MAP)),
    ),
    st.sets(st.sampled_from(MAP), max_size=6),
).filter(lambda order: len(order) > 2)


@st.composite
def troubles(draw: st.DrawFn, kinds: list[str]) -> tuple[Trouble, ...]:
    """At most one in two cycles: the loss of exactly the length of a cycle can't be noticed."""
    return tuple(
        Trouble(cycle, draw(st.integers(0, 7)), draw(st.sampled_from(kinds)), draw(st.floats(0, 1)))
        for cycle in range(draw(st.integers(0, 1)), CYCLES, 2)
    )


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int | None, tuple[Client, ...]]:
    """A configured start or none, and clients that fit to it."""
    configured = draw(st.booleans())
    order = draw(orders)
    clients = []
    for number in range(draw(st.integers(1, 3))):
        # Two clients of one address have a connection each, and keep it: else they look like one client.
        shared = number == 2
        address = "192.168.1.51" if number == 1 else "192.168.1.50"
        only = number == 1
        kinds = ["again", "lost", "end"] + (["reconnect", "half open"] if only or not shared else [])
        gap = draw(st.sampled_from([0.005, 0.05, 0.2]))
        longest = gap if not configured else 0.0
        clients.append(
            Client(
                address,
                order,
                gap,
                draw(st.floats(max(0.5, 8 * longest), 6.0)),
                draw(st.floats(0, 3)),
                draw(st.integers(0, 7)),
                only and draw(st.booleans()),
                draw(troubles(kinds)),
            )
        )
    return (order[0].start if configured else None), tuple(clients)


LOST_END = Client("192.168.1.50", (range(4), range(4, 8)), 0.01, 1.0, 0.0, 0, False, ())


@given(scene=scenes(), publish=st.sampled_from(Publish))
@example(scene=(0, (LOST_END,)), publish=Publish.COMPLETE)
@settings(max_examples=250, deadline=None)
def test_no_sample_mixes_two_cycles_or_two_clients(
    scene: tuple[int | None, tuple[Client, ...]], publish: Publish
) -> None:
    start, clients = scene
    run = Run(start, publish)
    run.play(clients)
    mixed = [row for row in run.rows if len(cycles(struct.unpack(">8H", row))) > 1]
    assert mixed == []


def test_without_trouble_every_cycle_is_a_sample_of_its_client() -> None:
    client = Client("192.168.1.50", parts_of(list(MAP), set()), 0.01, 1.0, 0.0, 0, False, ())
    run = Run(None, Publish.COMPLETE)
    run.play((client, Client("192.168.1.51", client.order, 0.01, 1.3, 0.1, 0, True, ())))
    assert len(run.rows) == 2 * CYCLES


def test_a_client_whose_every_tenth_reply_is_lost_loses_no_sample() -> None:
    again = tuple(Trouble(cycle, 3 * cycle, "again", 0.9) for cycle in range(CYCLES))
    client = Client("192.168.1.50", parts_of(list(MAP), set()), 0.01, 1.0, 0.0, 0, False, again)
    run = Run(None, Publish.COMPLETE)
    run.play((client,))
    assert len(run.rows) == CYCLES
