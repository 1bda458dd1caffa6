"""The changes that ufw makes, and the rules that the role writes."""

from __future__ import annotations

from roles.firewall.filter_plugins.firewall import lines

from smart_meter.site_card.firewall import admits, commands, fault

RULE = "ufw allow in on eth0 from 192.168.2.0/24 to 192.168.2.100 port 22 proto tcp comment 'SSH'"
WORDS = [
    *("allow", "in", "on", "eth0", "from", "192.168.2.0/24"),
    *("to", "192.168.2.100", "port", "22", "proto", "tcp"),
]


def test_a_rule_that_is_there_stays() -> None:
    assert commands([RULE], ["Added user rules (see 'ufw status' for running firewall):", RULE]) == []


def test_a_rule_that_is_missing_is_added_and_another_deleted() -> None:
    assert commands([RULE], ["ufw allow 22/tcp", "ufw route allow in on a out on b"]) == [
        [*WORDS, "comment", "SSH"],
        ["--force", "delete", "allow", "22/tcp"],
        ["--force", "route", "delete", "allow", "in", "on", "a", "out", "on", "b"],
    ]


def test_a_rule_with_another_comment_is_changed_and_not_deleted() -> None:
    assert commands([RULE], [RULE.replace("'SSH'", "'old'")]) == [[*WORDS, "comment", "SSH"]]


def test_the_rules_of_the_role_are_rules_of_a_card() -> None:
    rules = [
        {
            "comment": "(é)",
            "interface": "wlan0",
            "from": "192.168.1.0/24",
            "to": "192.168.1.1",
            "port": 502,
        },
        {"comment": "Page", "from": "10.0.0.0/8", "port": 8080, "proto": "udp"},
    ]

    written = lines(rules)

    assert [fault(line) for line in written] == ["", ""]
    assert admits(written[0], 502)
    assert not admits(written[0], 503)
    assert not admits(written[1], 8080)
    assert admits(RULE.replace("port 22", "port 20:30,80"), 25)
