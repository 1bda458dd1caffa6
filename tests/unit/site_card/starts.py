"""Starts of a Pi with a card, and storage that fails."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from smart_meter.site_card.apply import Outcome, Result, apply
from smart_meter.site_card.card import Card
from smart_meter.site_card.places import BY_KEY
from tests.unit.site_card.sample import VirtualPi, card, data, files

FIELD = BY_KEY["field_profile"].path
CONFIG = BY_KEY["config"].path
RECORD = "/var/lib/smart-meter-card/applied.json"


def start(pi: VirtualPi) -> Outcome:
    return apply(pi.boot, pi.root, pi.run, pi.numbers)


def applied(pi: VirtualPi) -> VirtualPi:
    pi.put(data())
    outcome = start(pi)
    assert outcome.result is Result.APPLIED, outcome.lines
    return pi


def refused(pi: VirtualPi, content: bytes) -> str:
    """Start with a card that must be refused, and return the answer."""
    pi.put(content)
    before = pi.state()
    outcome = start(pi)
    assert outcome.result is Result.REFUSED, outcome.lines
    assert pi.state() == before
    return pi.answer


def mode_of(pi: VirtualPi, path: str) -> int:
    return stat.S_IMODE((pi.root / path.lstrip("/")).stat().st_mode)


def of_another_user() -> Card:
    """Return a card with a login user that the Pi does not have."""
    texts = {"sshd": files()["sshd"].replace("AllowUsers pi", "AllowUsers meter")}
    return card(texts, user="meter")


def full_at(number: int) -> Callable[[int], None]:
    """Return a function in place of fsync that has no room at its nth call."""
    calls = iter(range(number))

    def fsync(descriptor: int) -> None:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


class Os:
    """The module os with another fsync."""

    def __init__(self, fsync: Callable[[int], None]) -> None:
        self.fsync = fsync

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)
