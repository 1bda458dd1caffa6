"""The login user of a card, on a Pi that does not have it."""

from __future__ import annotations

import argparse
import errno
import os
import signal
from contextlib import suppress

import pytest

from smart_meter.cli.commands import site_card
from smart_meter.site_card import staging
from smart_meter.site_card.apply import Result, apply
from tests.unit.site_card.sample import KEY, PASSWORD, VirtualPi, data
from tests.unit.site_card.starts import Os, of_another_user, refused, start


def test_a_pi_without_the_user_gets_it(pi: VirtualPi) -> None:
    pi.put(data(of_another_user()))

    outcome = start(pi)

    assert outcome.result is Result.APPLIED, outcome.lines
    assert pi.text("/home/meter/.ssh/authorized_keys") == f"{KEY}\n"
    assert f"meter:{PASSWORD}:19000" in pi.text("/etc/shadow")
    assert "pi:!:19000" in pi.text("/etc/shadow")


def test_a_user_that_cannot_be_created_changes_nothing(pi: VirtualPi) -> None:
    pi.fails = {"useradd": "no\nroom"}

    answer = refused(pi, data(of_another_user()))

    assert 'login.user: the user "meter" can\'t be created: no room' in answer
    assert not [command for command in pi.commands if command[0] == "userdel"]
    # It was created, and its home was not.
    pi.status = 12
    pi.put(data(of_another_user()))
    with suppress(FileNotFoundError):
        start(pi)
    assert pi.commands[-1] == ["userdel", "--remove", "meter"]


@pytest.mark.parametrize("program", ["sshd", "show added", "--datadir"])
def test_a_user_is_not_created_for_a_card_that_is_refused(pi: VirtualPi, program: str) -> None:
    pi.fails = {program: "no"}

    refused(pi, data(of_another_user()))

    assert not [command for command in pi.commands if command[0] == "useradd"]


@pytest.mark.parametrize("last", ["authorized_keys", "shadow", "applied.json"])
def test_a_user_that_was_created_does_not_stay_if_there_is_no_room_for_the_rest(
    pi: VirtualPi, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data(of_another_user()))
    before = pi.state()

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(f"/.{last}.new"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "os", Os(fsync))

    assert start(pi).result is Result.REFUSED

    assert pi.state() == before
    assert pi.commands[-1] == ["userdel", "--remove", "meter"]
    assert "nothing was changed" in pi.answer
    monkeypatch.undo()
    assert start(pi).result is Result.APPLIED


def test_a_start_that_takes_too_long_gets_an_answer_and_leaves_no_user(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data(of_another_user()))
    before = pi.state()

    def fsync(descriptor: int) -> None:
        # The user is there, and systemd ends the service.
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/.shadow.new"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(staging, "os", Os(fsync))
    monkeypatch.setattr(site_card, "apply", lambda folder, root, _: apply(folder, root, pi.run, pi.numbers))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        status = site_card.execute(argparse.Namespace(action="apply", folder=str(pi.boot), root=str(pi.root)))
    finally:
        signal.signal(signal.SIGTERM, handler)

    assert status == 1
    assert pi.state() == before
    assert "the start: took too long; nothing was changed" in pi.answer
