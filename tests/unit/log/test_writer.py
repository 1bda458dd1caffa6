"""The journal's thread on pipes, one of them full, one of them closed."""

import os
from collections.abc import Iterator

import pytest

from smart_meter.log.writer import MAX_WAITING, Journal

PATIENCE = 20.0


def tell_lost(count: int) -> str:
    return f"{count} lost"


class Pipe:
    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        self.open = [self.out, self.into]

    def close(self, descriptor: int) -> None:
        self.open.remove(descriptor)
        os.close(descriptor)

    def read_lines(self, enough: str) -> list[str]:
        """Read up to a line, however long that takes."""
        data = b""
        while not data.endswith(f"{enough}\n".encode()):
            data += os.read(self.out, 65536)
        return data.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in list(pipe.open):
        pipe.close(descriptor)


def test_lines_come_out_in_order(pipe: Pipe) -> None:
    journal = Journal(pipe.into, tell_lost)
    for number in range(3):
        journal.tell(f"line {number}")
    assert journal.flush(PATIENCE)
    assert os.read(pipe.out, 4096) == b"line 0\nline 1\nline 2\n"


def test_letters_beyond_ascii_come_out_as_utf_8_in_any_locale(pipe: Pipe) -> None:
    journal = Journal(pipe.into, tell_lost)
    journal.tell("850 W/m² \udcff")
    assert journal.flush(PATIENCE)
    assert os.read(pipe.out, 4096) == "850 W/m² ?\n".encode()


def test_a_full_pipe_holds_nobody_up_and_what_was_left_out_is_told(pipe: Pipe) -> None:
    journal = Journal(pipe.into, tell_lost)
    told = 3 * MAX_WAITING
    for number in range(told):
        journal.tell(f"{number:0100}")
    assert not journal.flush(0.0)
    data = b""
    numbers: list[int] = []
    lost = 0
    # Whatever was not printed must be told as lost, or this never ends.
    while len(numbers) + lost < told:
        data += os.read(pipe.out, 65536)
        whole, _, data = data.rpartition(b"\n")
        lines = whole.decode().splitlines()
        numbers += [int(line) for line in lines if line.isdigit()]
        lost += sum(int(line.split()[0]) for line in lines if line.endswith(" lost"))
    assert len(numbers) + lost == told
    assert lost > MAX_WAITING / 2
    assert numbers == sorted(set(numbers))


def test_a_closed_output_is_no_error_and_is_told_when_it_can_be(pipe: Pipe) -> None:
    journal = Journal(pipe.into, tell_lost)
    pipe.close(pipe.out)
    for number in range(5):
        journal.tell(f"line {number}")
        assert journal.flush(PATIENCE)
    fresh_out, fresh_into = os.pipe()
    os.dup2(fresh_into, pipe.into)
    pipe.open += [fresh_out, fresh_into]
    journal.tell("hello")
    assert journal.flush(PATIENCE)
    assert os.read(fresh_out, 4096) == b"hello\n5 lost\n"


def test_an_output_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.into, False)
    journal = Journal(pipe.into, tell_lost)
    for number in range(5000):
        journal.tell(f"{number:0100}")
    journal.tell("end")
    assert [line.lstrip("0") or "0" for line in pipe.read_lines("end")] == [*map(str, range(5000)), "end"]
