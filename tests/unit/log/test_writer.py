"""The log's writer on pipes: open, full, closed and non-blocking."""

import os
from collections.abc import Iterator

import pytest

from smart_meter.log.writer import MAX_WAITING, LogWriter

TIMEOUT = 20.0


def format_lost(count: int) -> str:
    return f"{count} lost"


class Pipe:
    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        self.open = [self.out, self.into]

    def close(self, descriptor: int) -> None:
        self.open.remove(descriptor)
        os.close(descriptor)

    def read_lines(self, last: str) -> list[str]:
        """Read up to and including a line."""
        data = b""
        while not data.endswith(f"{last}\n".encode()):
            data += os.read(self.out, 65536)
        return data.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in list(pipe.open):
        pipe.close(descriptor)


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    writer = LogWriter(pipe.into, format_lost)
    for number in range(3):
        writer.write(f"line {number}")
    assert writer.flush(TIMEOUT)
    assert os.read(pipe.out, 4096) == b"line 0\nline 1\nline 2\n"


def test_non_ascii_characters_are_written_as_utf_8_in_any_locale(pipe: Pipe) -> None:
    writer = LogWriter(pipe.into, format_lost)
    writer.write("850 W/m² \udcff")
    assert writer.flush(TIMEOUT)
    assert os.read(pipe.out, 4096) == "850 W/m² ?\n".encode()


def test_a_full_pipe_blocks_nobody_and_lost_lines_are_reported(pipe: Pipe) -> None:
    writer = LogWriter(pipe.into, format_lost)
    written = 3 * MAX_WAITING
    for number in range(written):
        writer.write(f"{number:0100}")
    assert not writer.flush(0.0)
    data = b""
    numbers: list[int] = []
    lost = 0
    # Every line is either printed or reported as lost, or this never ends.
    while len(numbers) + lost < written:
        data += os.read(pipe.out, 65536)
        whole, _, data = data.rpartition(b"\n")
        lines = whole.decode().splitlines()
        numbers += [int(line) for line in lines if line.isdigit()]
        lost += sum(int(line.split()[0]) for line in lines if line.endswith(" lost"))
    assert len(numbers) + lost == written
    assert lost > MAX_WAITING / 2
    assert numbers == sorted(set(numbers))


def test_a_closed_output_is_not_an_error_and_the_loss_is_reported_later(pipe: Pipe) -> None:
    writer = LogWriter(pipe.into, format_lost)
    pipe.close(pipe.out)
    for number in range(5):
        writer.write(f"line {number}")
        assert writer.flush(TIMEOUT)
    fresh_out, fresh_into = os.pipe()
    os.dup2(fresh_into, pipe.into)
    pipe.open += [fresh_out, fresh_into]
    writer.write("hello")
    assert writer.flush(TIMEOUT)
    assert os.read(fresh_out, 4096) == b"hello\n5 lost\n"


def test_the_writer_waits_for_a_non_blocking_output(pipe: Pipe) -> None:
    os.set_blocking(pipe.into, False)
    writer = LogWriter(pipe.into, format_lost)
    for number in range(5000):
        writer.write(f"{number:0100}")
    writer.write("end")
    assert [line.lstrip("0") or "0" for line in pipe.read_lines("end")] == [*map(str, range(5000)), "end"]
