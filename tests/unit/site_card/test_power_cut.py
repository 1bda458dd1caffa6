"""A power cut at each step of applying a card: the next start completes it, and the secrets are gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smart_meter.site_card import boot_partition, staging
from smart_meter.site_card.apply import Result
from tests.unit.site_card.sample import PASSPHRASE, PASSWORD, VirtualPi, card, data, files
from tests.unit.site_card.starts import RECORD, of_another_user, start

STEPS = frozenset({"open", "fsync", "rename", "replace", "symlink", "fchmod", "chown"})
_CUT, _DONE = 3, 4


class Power:
    """The module os, with power for some steps only: the process ends at the next, and cleans nothing up."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __getattr__(self, name: str) -> Any:
        return self._step if name in STEPS and self._is_over(name) else getattr(os, name)

    def _is_over(self, name: str) -> bool:
        del name
        self._left -= 1
        return self._left < 0

    def _step(self, *_: object, **__: object) -> None:
        os._exit(_CUT)


def cut_after(pi: VirtualPi, steps: int) -> bool:
    """Start the Pi in a process that ends after some steps; return whether it did not come to its end."""
    child = os.fork()
    if child == 0:
        power = Power(steps)
        for module in (staging, boot_partition):
            vars(module)["os"] = power
        try:
            start(pi)
            os._exit(_DONE)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (_CUT, _DONE)
    return status == _CUT


def settings(pi: VirtualPi) -> dict[str, Any]:
    """Return the Pi's files, without what differs each time."""
    found = pi.state()
    record = json.loads(found.pop(RECORD.lstrip("/"))[0])
    assert record["secrets"].keys() == {"passphrase", "password"}
    return {**found, "record": (record["identity"], record["files"], record["lacking"])}


def cuts() -> Iterator[int]:
    """Yield numbers of steps: first all, then each third, since one is like the other in the middle."""
    yield from range(6)
    yield from range(6, 400, 3)


def test_after_a_power_cut_at_any_step_the_next_start_completes_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel is not cut off, so nothing depends on it here.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    content = data(of_another_user())
    whole = VirtualPi(tmp_path / "whole")
    whole.put(content)
    start(whole)
    count = 0
    for steps in cuts():
        pi = VirtualPi(tmp_path / str(steps))
        pi.put(content)
        if not cut_after(pi, steps):
            break
        count += 1

        result = start(pi).result

        assert result in (Result.APPLIED, Result.UNCHANGED), steps
        assert settings(pi) == settings(whole), steps
        assert pi.card == whole.card, steps
        assert pi.answer == whole.answer, steps
        assert {path.name for path in pi.boot.iterdir()} == {"site-card.toml", "site-card-answer.txt"}
        assert PASSPHRASE.encode() not in pi.card
        assert PASSWORD.encode() not in pi.card
    assert count > 25


def test_after_a_power_cut_the_earlier_card_is_applied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    texts = {"config": files()["config"].replace('name = "RPI#1"', 'name = "RPI#2"'), "watchdog": None}
    other = data(card(texts, timezone="Etc/UTC", secrets={"passphrase": "staple-battery"}))
    whole = VirtualPi(tmp_path / "whole")
    whole.put(data())
    start(whole)
    expected = settings(whole)
    count = 0
    for steps in range(0, 400, 2):
        pi = VirtualPi(tmp_path / str(steps))
        pi.put(data())
        start(pi)
        pi.put(other)
        if not cut_after(pi, steps):
            break
        count += 1
        pi.put(data())

        result = start(pi).result

        assert result in (Result.APPLIED, Result.UNCHANGED), steps
        # What was prepared beside the files stays until the next card.
        assert {name: value for name, value in settings(pi).items() if not name.endswith(".new")} == expected
    assert count > 10


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_cut_before_anything_was_prepared_leaves_the_pi_as_it_was(pi: VirtualPi, steps: int) -> None:
    pi.put(data())
    before = pi.state()

    assert cut_after(pi, steps)

    assert pi.state().items() >= before.items()
    assert pi.card == data()
