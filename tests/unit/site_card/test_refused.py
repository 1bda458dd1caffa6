"""Cards that are refused: nothing changes, and the answer has the reason."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from smart_meter.site_card.apply import Outcome, Result
from smart_meter.site_card.card import MAX_BYTES
from tests.unit.site_card.sample import VirtualPi, card, data
from tests.unit.site_card.starts import applied, refused, start


def test_another_hosts_card_is_refused_once_the_pi_has_a_name(pi: VirtualPi) -> None:
    applied(pi)
    other = card(host="pi-south", files=card({"host_name": "pi-south\n"}).files)

    answer = refused(pi, data(other))

    assert 'host: "pi-south" is another Pi: this one is pi-north' in answer
    assert "make site-card HOST=pi-south REPLACES=pi-north" in answer
    pi.put(data(replace(other, replaces="pi-north")))
    assert start(pi).result is Result.APPLIED
    assert pi.text("/etc/hostname") == "pi-south\n"


def test_a_pi_that_the_inventory_has_named_takes_its_own_card_only(pi: VirtualPi) -> None:
    pi.write("/etc/hostname", "pi-east\n")

    assert "this one is pi-east" in refused(pi, data())
    pi.write("/etc/hostname", "pi-north\n")
    applied(pi)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (data()[:-20], "it was not copied completely"),
        (b"", "it was not copied completely"),
        (b"#" * (MAX_BYTES + 1), "is over 256 KiB long"),
        (b"format = 9\n", "format: 9 is newer"),
        (data(card({"kernel": "x\n"})), "files.kernel: is not a text"),
        (data(card(timezone="Mars/Base")), 'timezone: "Mars/Base" is not a time zone of this Pi'),
    ],
)
def test_a_bad_card_changes_nothing_and_gets_an_answer(pi: VirtualPi, content: bytes, expected: str) -> None:
    answer = refused(pi, content)

    assert answer.startswith("The site card was refused. The Pi keeps its settings.\n")
    assert expected in answer
    assert pi.card == content


def test_a_bad_card_leaves_the_settings_of_a_good_one(pi: VirtualPi) -> None:
    applied(pi)

    refused(pi, data()[:-20])
    pi.put(data())
    assert start(pi).result is Result.UNCHANGED


@pytest.mark.parametrize("content", [data(), b"x"])
def test_once_the_card_is_gone_the_answer_is_no_longer_about_it(pi: VirtualPi, content: bytes) -> None:
    pi.put(content)
    start(pi)
    (pi.boot / "site-card.toml").unlink()

    assert start(pi).result is Result.ABSENT
    assert pi.answer.startswith("There is no site-card.toml in this folder. The Pi keeps its settings.\n")


def test_after_a_good_card_the_answer_is_no_longer_that_of_the_bad_one(pi: VirtualPi) -> None:
    refused(pi, b"x")

    assert "was applied" in applied(pi).answer


def test_a_pipe_in_its_place_is_refused_without_waiting_for_it(pi: VirtualPi) -> None:
    os.mkfifo(pi.boot / "site-card.toml")
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(start(pi)), daemon=True)

    thread.start()
    thread.join(10)

    assert outcomes[0].result is Result.REFUSED
    assert "is not a file" in pi.answer


@pytest.mark.parametrize("target", ["/dev/zero", "other.toml"])
def test_a_link_in_its_place_is_refused(pi: VirtualPi, target: str) -> None:
    (pi.boot / "other.toml").write_bytes(data())
    (pi.boot / "site-card.toml").symlink_to(target)

    assert start(pi).result is Result.REFUSED
    assert "is not a file" in pi.answer


def test_a_folder_in_its_place_is_refused(pi: VirtualPi) -> None:
    (pi.boot / "site-card.toml").mkdir()

    assert start(pi).result is Result.REFUSED


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("sshd", "files.sshd: sshd refuses it: no"),
        ("show added", "firewall: ufw does not answer: no"),
        ("--datadir", "firewall: ufw refuses `allow in on wlan0"),
    ],
)
def test_a_program_that_refuses_changes_nothing(pi: VirtualPi, program: str, expected: str) -> None:
    pi.fails = {program: "no"}

    assert expected in refused(pi, data())


def test_a_folder_in_the_place_of_a_file_changes_nothing(pi: VirtualPi) -> None:
    (pi.root / "etc/ssh/sshd_config.d/10-smart-meter.conf").mkdir(parents=True)
    pi.put(data())

    assert start(pi).result is Result.REFUSED
    assert "10-smart-meter.conf is a folder; move it away" in pi.answer
    assert pi.answer.splitlines()[-1] == "After that, switch the Pi on again: it applies this site-card.toml."
    assert pi.text("/etc/hostname") == "smart-meter\n"
