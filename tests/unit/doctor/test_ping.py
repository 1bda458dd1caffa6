"""Whether the kernel limits ping as its unit does, by what iptables prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_meter.doctor.check import PROVISION, Level
from smart_meter.doctor.ping import PingRules, judge_ping

GOLDEN = Path(__file__).parents[1] / "roles/golden/default/etc/systemd/system/smart-meter-ping.service"
UNIT = GOLDEN.read_text(encoding="utf-8")
# As `iptables -t raw -S` prints them once the unit has started.
IPV4 = """\
-P PREROUTING ACCEPT
-P OUTPUT ACCEPT
-N smart-meter-ping
-A PREROUTING -p icmp -m icmp --icmp-type 8 -j smart-meter-ping
-A smart-meter-ping -i lo -j RETURN
-A smart-meter-ping -s 192.168.1.0/24 -d 192.168.1.100/32 -i wlan0 -j RETURN
-A smart-meter-ping -s 192.168.2.0/24 -d 192.168.2.100/32 -i eth0 -j RETURN
-A smart-meter-ping -j DROP
"""
IPV6 = """\
-P PREROUTING ACCEPT
-P OUTPUT ACCEPT
-N smart-meter-ping
-A PREROUTING -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j smart-meter-ping
-A smart-meter-ping -i lo -j RETURN
-A smart-meter-ping -j DROP
"""
EMPTY = "-P PREROUTING ACCEPT\n-P OUTPUT ACCEPT\n"


def judged(ipv4: str | None = IPV4, ipv6: str | None = IPV6, unit: str = UNIT) -> tuple[Level, str]:
    check = judge_ping(PingRules(unit, {"iptables": ipv4, "ip6tables": ipv6}))
    assert check.name == "firewall, ping"
    if check.level is Level.BAD:
        assert check.fix.startswith("sudo systemctl restart smart-meter-ping.service; ")
    return check.level, check.found


def test_the_rules_of_the_unit_are_good() -> None:
    assert judged() == (Level.OK, "only hosts that may connect get a reply")


def test_without_ipv6_only_the_rules_of_ipv4_count() -> None:
    assert judge_ping(PingRules(UNIT, {"iptables": IPV4})).level is Level.OK


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (EMPTY, "the chain smart-meter-ping is missing"),
        # iptables -t raw -F
        (f"{EMPTY}-N smart-meter-ping\n", "the chain smart-meter-ping is empty"),
        # iptables -t raw -F PREROUTING
        (
            "".join(line for line in IPV4.splitlines(keepends=True) if "-A PREROUTING" not in line),
            "no rule of PREROUTING leads to smart-meter-ping",
        ),
        # Of another type of ICMP.
        (IPV4.replace("--icmp-type 8", "--icmp-type 13"), "no rule of PREROUTING leads to smart-meter-ping"),
        (
            IPV4.replace("-A PREROUTING", "-A PREROUTING -p icmp -j ACCEPT\n-A PREROUTING", 1),
            "a rule before smart-meter-ping decides: -A PREROUTING -p icmp -j ACCEPT",
        ),
    ],
)
def test_rules_that_were_flushed_or_bypassed_are_named(rules: str, found: str) -> None:
    assert judged(ipv4=rules) == (Level.BAD, f"every host may get a reply: {found} (iptables)")


def test_the_rules_of_ipv6_count_too() -> None:
    found = "every host may get a reply: the chain smart-meter-ping is missing (ip6tables)"
    assert judged(ipv6=EMPTY) == (Level.BAD, found)


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (
            IPV4.replace("-A smart-meter-ping -j DROP\n", ""),
            "smart-meter-ping lacks: -A smart-meter-ping -j DROP",
        ),
        (
            IPV4.replace("-s 192.168.2.0/24", "-s 10.0.0.0/8"),
            "smart-meter-ping lacks: "
            "-A smart-meter-ping -i eth0 -s 192.168.2.0/24 -d 192.168.2.100 -j RETURN",
        ),
        (
            IPV4.replace(
                "-A smart-meter-ping -i lo", "-A smart-meter-ping -j RETURN\n-A smart-meter-ping -i lo"
            ),
            "smart-meter-ping has a rule that is not of its unit: -A smart-meter-ping -j RETURN",
        ),
        (
            IPV4.replace("-A smart-meter-ping -j DROP\n", "").replace(
                "-A smart-meter-ping -i lo", "-A smart-meter-ping -j DROP\n-A smart-meter-ping -i lo"
            ),
            "the rules of smart-meter-ping are in another order than in its unit",
        ),
    ],
)
def test_another_rule_than_the_unit_s_is_named(rules: str, found: str) -> None:
    assert judged(ipv4=rules) == (Level.BAD, f"{found} (iptables)")


def test_rules_of_other_programs_that_decide_nothing_are_left_out() -> None:
    marked = IPV4.replace("-A PREROUTING", "-A PREROUTING -i eth0 -j CT --notrack\n-A PREROUTING", 1)
    assert judged(ipv4=marked)[0] is Level.OK


def test_rules_that_can_not_be_read_are_unknown() -> None:
    assert judged(ipv4=None) == (Level.UNKNOWN, "iptables failed")


def test_a_missing_unit_is_bad() -> None:
    check = judge_ping(PingRules(None, {"iptables": EMPTY}))
    assert (check.level, check.fix) == (Level.BAD, PROVISION)
    assert check.found == "smart-meter-ping.service is not installed"


def test_for_a_user_who_may_not_read_the_rules_ping_is_unknown() -> None:
    check = judge_ping(None)
    assert check.level is Level.UNKNOWN
    assert "sudo " in check.fix
