"""A sample that is written in parts mixes no two cycles and no two clients, whatever gets lost."""

from collections.abc import Iterable

import pytest

from smart_meter.meters.assembly import Dropped, Request
from smart_meter.meters.rhythm import Basis
from smart_meter.meters.source import Source
from smart_meter.meters.writers import Writers
from tests.unit.meters import parts
from tests.unit.meters.parts import Hardship, Program, Write

ALL = frozenset(parts.MAP)
SEEDS = range(4)
ORDERS = {
    "ascending": parts.ASCENDING,
    "descending": parts.DESCENDING,
    "timestamp first": parts.TIMESTAMP_FIRST,
    "halves": parts.HALVES,
    "halves, backwards": parts.HALVES_BACKWARDS,
    "any": parts.singles([3, 0, 7, 1, 2, 6, 5, 4]),
}


class Assembled:
    """Samples that are put together from writes."""

    def __init__(self, start: int | None = None, gap: float = 2.0) -> None:
        self.writers = Writers(ALL, gap, start)
        self.samples: list[tuple[float, list[int]]] = []
        self.dropped: list[Dropped] = []

    def write(self, source: Source, write: Write) -> bool:
        values = {write.address + index: value for index, value in enumerate(write.values)}
        request = Request((write.address, write.values), write.address, write.address + len(values), values)
        self.writers.drop_silent(write.at, self.dropped)
        stream = self.writers.stream(source, write.at, self.dropped)
        whole = stream.write(request, write.at, self.dropped)
        if whole:
            taken = stream.take()
            self.samples.append((write.at, [taken[register] for register in parts.MAP]))
        self.writers.written(stream, self.dropped)
        return whole

    def all(self, source: Source, writes: Iterable[Write]) -> "Assembled":
        for write in writes:
            self.write(source, write)
        return self

    def mixed(self) -> list[list[int]]:
        return [registers for _, registers in self.samples if len(parts.cycles(registers)) > 1]

    def basis(self) -> Basis | None:
        [writer] = self.writers
        return writer.rhythm.basis


def start(order: list[range]) -> int:
    return order[0].start


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gap", [0.005, 0.05, 0.25])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_without_losses_no_sample_mixes_two_cycles(order: list[range], gap: float, seed: int) -> None:
    luck = parts.chance(seed)
    program = Program(order, gap, pause=luck.choice([1.0, 2.0, 5.0, 10.0]))
    done = Assembled().all(Source("a"), program.writes(luck, 40, luck.randrange(len(order))))
    assert done.mixed() == []
    assert len(done.samples) >= 30


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gap", [0.005, 0.05, 0.25])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_with_a_known_start_no_sample_mixes_two_cycles_whatever_is_lost(
    order: list[range], gap: float, seed: int
) -> None:
    luck = parts.chance(seed)
    trouble = Hardship(reply_lost=0.2, late=0.1, run_lost=0.05)
    program = Program(order, gap, 1.0, hardship=trouble)
    done = Assembled(start(order)).all(Source("a"), program.writes(luck, 60))
    assert done.mixed() == []
    assert len(done.samples) >= 10


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_with_few_losses_no_sample_mixes_two_cycles_without_a_known_start(
    order: list[range], seed: int
) -> None:
    luck = parts.chance(seed)
    trouble = Hardship(reply_lost=0.05, late=0.05, run_lost=0.01)
    done = Assembled().all(Source("a"), Program(order, 0.05, 4.0, hardship=trouble).writes(luck, 60))
    assert done.mixed() == []
    assert done.basis() is Basis.LEARNED


def test_two_connections_of_one_address_that_write_at_once_are_not_mixed() -> None:
    done = Assembled(0)
    first, second = Source("a"), Source("a")
    for cycle in range(3):
        for register in parts.MAP:
            at = cycle * 2 + register * 0.01
            done.write(first, Write(at, register, (parts.value(0, cycle, register),)))
            done.write(second, Write(at + 0.005, register, (parts.value(1, cycle, register),)))
    assert done.mixed() == []
    assert len(done.samples) == 6


def test_a_connection_for_each_write_continues_the_last() -> None:
    done = Assembled()
    for cycle in range(3):
        for register in parts.MAP:
            source = Source("a")
            at = cycle * 2 + register * 0.01
            done.write(source, Write(at, register, (parts.value(0, cycle, register),)))
            done.writers.disconnected(source)
    assert len(done.samples) == 3
    [writer] = done.writers
    assert len(writer.streams) == 1


def test_a_start_that_is_configured_stays() -> None:
    done = Assembled(7)
    done.all(Source("a"), Program(parts.ASCENDING, 0.005, 1.0).writes(parts.chance(1), 20))
    assert done.basis() is Basis.CONFIGURED


def test_two_gaps_are_enough_to_see_a_pause() -> None:
    # Joined after its first write: the rest, with the beginning of the next cycle, is not a sample.
    order = [range(5, 8), range(3), range(3, 5)]
    done = Assembled().all(Source("a"), Program(order, 0.2, 1.0).writes(parts.chance(1), 20, join=1))
    assert done.mixed() == []
    assert done.basis() is Basis.LEARNED


def test_an_even_writer_is_assumed_to_begin_with_the_first_register() -> None:
    done = Assembled().all(
        Source("a"), Program(parts.ASCENDING, 0.25, 0.25).writes(parts.chance(1), 20, join=3)
    )
    assert done.basis() is Basis.ASSUMED
    assert done.mixed() == []
    assert len(done.samples) >= 17


def test_the_number_of_writers_and_of_incomplete_samples_is_bounded() -> None:
    done = Assembled(0)
    for number in range(200):
        done.write(Source(f"{number}"), Write(number * 0.001, 0, (1,)))
    assert len(list(done.writers)) == 64
    assert len(done.writers.open) == 8
    assert len(done.dropped) == 192


def test_streams_of_connections_that_are_gone_are_forgotten() -> None:
    done = Assembled(0)
    sources = [Source("a") for _ in range(20)]
    for number, source in enumerate(sources):
        done.write(source, Write(number * 0.01, 0, (number,)))
    for source in sources:
        done.writers.disconnected(source)
    done.writers.drop_silent(10.0, done.dropped)
    [writer] = done.writers
    assert len(writer.streams) == 1
