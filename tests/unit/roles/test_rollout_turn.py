"""Waiting for another run's change on a Pi."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from roles.concentrator.rollout import pi
from roles.concentrator.rollout.pi import BUSY, Answer, wait_for_turn


class Action:
    """An action plugin's display."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._display = self

    def display(self, line: str) -> None:
        self.shown.append(line)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pi, "_PAUSE", 0)


def attempts(*answers: Answer) -> Iterator[Answer]:
    yield from answers


def test_the_wait_is_shown_once_for_each_reason() -> None:
    action = Action()
    answers = attempts(Answer(BUSY, "anna"), Answer(BUSY, "anna"), Answer(BUSY, "bert"), Answer(0, "done"))

    answer = wait_for_turn(action, lambda: next(answers), lambda busy: f"wait for {busy.text}", patience=60)

    assert answer == Answer(0, "done")
    assert action.shown == ["wait for anna", "wait for bert"]


def test_without_patience_there_is_one_attempt() -> None:
    action = Action()
    answers = attempts(Answer(BUSY, "anna"))

    answer = wait_for_turn(action, lambda: next(answers), lambda busy: busy.text, patience=-1)

    assert answer == Answer(BUSY, "anna")
    assert action.shown == []
