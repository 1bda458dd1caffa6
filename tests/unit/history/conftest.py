"""Histories that are closed at the end of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smart_meter.history import writer
from tests.unit.history.bench import TIMEOUT, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(path: Path | None = None, **keywords: object) -> Bench:
        made.append(Bench(path or tmp_path / "history.db", **keywords))  # type: ignore[arg-type]  # as they are
        return made[-1]

    yield make
    for one in made:
        if hasattr(one, "history"):
            one.history.stop(TIMEOUT)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry immediately, so that a test need not wait after it has fixed something."""
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(writer, "LOCK_SECONDS", 0.02)
    monkeypatch.setattr(writer, "CHECK_SECONDS", 0.02)
