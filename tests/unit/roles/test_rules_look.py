"""Answers of Pis that are wrong, or that a Pi under someone else's control has made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from roles.preflight.rules.answer import MAX_ANSWER, MAX_ENTRIES, AnswerError
from roles.preflight.rules.look import read_answer, read_fact
from tests.unit.roles.looks import GOOD, WANTED, answer, look


def refused(text: str) -> str:
    with pytest.raises(AnswerError) as failure:
        read_answer(text, WANTED)
    message = str(failure.value)
    assert message.isprintable(), "it reaches the terminal"
    assert len(message) < 400
    return message


def test_a_good_answer_is_read_as_it_is() -> None:
    found = look()

    assert found.as_fact() == GOOD
    assert found.nm.devices["eth0"].state == 100
    assert found.release.major == 13


def test_the_variable_of_the_roles_is_the_same_look_again() -> None:
    assert read_fact({**look().as_fact(), "clock_ahead": 0.5, "time": 1.5}) == look()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("layout", 2),
        ("layout", True),
        ("layout", 1.0),
        ("clock", "now"),
        ("clock", True),
        ("clock", -1),
        ("user_id", 0.0),
        ("user_id", -1),
        ("free_bytes", 10**30),
        ("network_manager", "active; reboot"),
        ("connection", "192.168.2.5 51234 192.168.2.100"),
        ("connection", "192.168.2.5 51234 192.168.2.100 $(id)"),
        ("login", None),
        ("login", []),
        ("login.name", "-oProxyCommand=id"),
        ("login.name", "pi root"),
        ("login.home", "home/pi"),
        ("login.home", "/home/pi\x1b[2J"),
        ("login.has_key", 1),
        ("files", {"/etc/hosts": None}),
        ("files", {**GOOD["files"], "/etc/shadow": None}),
        ("files", {**GOOD["files"], "/etc/hosts": ["0" * 64, "0644", "root"]}),
        ("files", {**GOOD["files"], "/etc/hosts": ["0" * 63 + "G", "0644", "root", "root"]}),
        ("files", {**GOOD["files"], "/etc/hosts": "fine"}),
        ("users", {}),
        ("users", {"smart-meter": None, "nobody-knows": ["a", "/", "/bin/sh"]}),
        ("users", {**GOOD["users"], "-x": None}),
        ("claimed", "no"),
        ("packages", ["python3", "--reinstall"]),
        ("packages", "python3"),
        ("packages", ["p"] * (MAX_ENTRIES + 1)),
        ("dpkg.lock", "apt \u202egpj"),
        ("name.node", "pi north"),
        ("name.node", "pi;reboot"),
        ("name.hosts", "127.0.0.1 pi\r\x07"),
        ("zone", "../../etc/shadow"),
        ("zone", "/etc/shadow"),
        ("units", {}),
        ("units", {**GOOD["units"], "ssh.service": ["active"]}),
        ("units", {**GOOD["units"], "ssh service": ["active", "enabled"]}),
        ("journal", ["system.journal"]),
        ("nm.devices", {"eth9": GOOD["nm"]["devices"]["eth0"]}),
        ("nm.devices.eth0.uuid", "$(reboot)"),
        ("nm.devices.eth0.path", "/org/../x"),
        ("nm.devices.eth0.addresses", ["192.168.2.100/24; id"]),
        ("nm.devices.eth0.addresses", ["١٩٢.168.2.100/24"]),
        ("nm.devices.eth0.gateway", "router"),
        ("nm.profiles", [{**GOOD["nm"]["profiles"][0], "uuid": "x"}]),
        ("nm.profiles", [{**GOOD["nm"]["profiles"][0], "more": "x"}]),
        ("nm.profiles", [{**GOOD["nm"]["profiles"][0], "id": "two\nlines"}]),
        ("country", "DEU"),
        ("ufw.added", ["ufw allow \x9b31m"]),
        ("ufw.added", ["ufw allow " + "9" * 4000]),
        ("sysctl_files", {"net.ipv4.ip_forward": [["relative.conf", "1"]]}),
        ("time_daemon", "xntpd"),
        ("byport", {"502/../../x": "pi"}),
        ("python", "3"),
        ("machine", "aarch64 && id"),
        ("bits", 16),
        ("release.id", "Debian; id"),
        ("interfaces", ["-i"]),
        ("interfaces", ["eth0 wlan0"]),
        ("profiles", {"field": ""}),
        ("profiles", {"field": "", "control": "", "third": ""}),
        ("failed", ["a\ud800b"]),
        ("surplus", "x"),
        ("login.surplus", "x"),
    ],
)
def test_a_value_that_can_not_be_is_refused_with_its_place(place: str, value: Any) -> None:
    message = refused(json.dumps(answer({place: value})))

    assert place.rpartition(".")[2] in message or "not a field" in message


@pytest.mark.parametrize("name", GOOD)
def test_every_field_has_to_be_there(name: str) -> None:
    text = json.dumps({key: value for key, value in GOOD.items() if key != name})

    assert refused(text) == f"{name} is missing"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"text"',
        "1",
        "not JSON \x1b]0;title\x07",
        json.dumps(GOOD) + "{}",
        json.dumps(GOOD).replace('"layout": 1,', '"layout": 1, "layout": 1,'),
        json.dumps(GOOD).replace("2000000000,", "NaN,"),
        json.dumps(GOOD).replace("2000000000,", "Infinity,"),
        json.dumps(GOOD).replace("1795720000.25,", "1e999,"),
        json.dumps(GOOD).replace("2000000000,", "9" * 5000 + ","),
        "[" * 200_000,
        " " * (MAX_ANSWER + 1),
    ],
    ids=lambda text: text[:12],
)
def test_what_is_not_an_answer_is_refused(text: str) -> None:
    assert refused(text)


def test_an_odd_pi_is_not_taken_for_a_hostile_one() -> None:
    odd = {
        "login.name": "DOM\\anna.b@example",
        "login.home": "/srv/homes/Änna b",
        "connection": "",
        "zone": "",
        "name.node": "",
        "nm.running": False,
        "nm.version": "",
        "nm.devices": {},
        "nm.profiles": [],
        "release": {"id": "", "name": "", "version": "", "debian": "forky/sid"},
        "systemd": False,
        "init": "sh",
        "interfaces": ["lo", "enxdca632010203", "br-0a1b2c3d4e5f", "wlan0.10"],
        "units": {"NetworkManager.service": ["", ""], "ssh.service": ["", "enabled-runtime"]},
    }

    assert look(odd).release.major == 99
