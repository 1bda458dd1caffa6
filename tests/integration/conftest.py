"""Fixtures that start the program."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.program import Program
from tests.unit.wire import write

# If a shell runs the tests in the background, every process that they start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs, and kill them at the end of the test if they are still running."""
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
    """A concentrator in trial mode, with one sample."""
    program = start("run", "--trial", "--port", "0")
    with program.connect() as client:
        client.ask(write(0))
    return program


@pytest.fixture
def reading_only(start: Callable[..., Program]) -> Program:
    """A concentrator that is not in trial mode, so that this machine may only read."""
    return start("run", "--host", "127.0.0.1", "--port", "0")
