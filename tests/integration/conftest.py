"""Programs to talk to."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.program import Program
from tests.unit.wire import write

# A shell that runs the tests in its background has Ctrl-C ignored in all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs that are killed at the end of the test, if they still run."""
    programs: list[Program] = []

    def start_program(*arguments: str, **keywords: object) -> Program:
        program = Program(arguments, tmp_path, **keywords)  # type: ignore[arg-type]  # passed on as they are
        programs.append(program)
        return program

    yield start_program
    for program in programs:
        program.kill()


@pytest.fixture
def server(start: Callable[..., Program]) -> Program:
    """A trial with one sample in it."""
    program = start("run", "--trial", "--port", "0")
    with program.connect() as client:
        client.ask(write(0))
    return program


@pytest.fixture
def reading_only(start: Callable[..., Program]) -> Program:
    """Not a trial: this machine may only read."""
    return start("run", "--host", "127.0.0.1", "--port", "0")
