"""Judges whether the kernel limits ping as smart-meter-ping.service does. Pure.

The unit is active from its start on, even if somebody flushes its rules later.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from smart_meter.doctor.check import AS_ROOT, PROVISION, Check, bad, ok, unknown

UNIT = "smart-meter-ping.service"
CHAIN = "smart-meter-ping"
_BASE = "PREROUTING"
_NAME = "firewall, ping"
_EXPECTED = "only hosts that may connect get a reply"
_DECIDES = ("ACCEPT", "RETURN")
"""Targets after which the kernel does not look at the rules that follow in PREROUTING."""
# As iptables prints what the unit spells in another way.
_SPELLED = {
    ("--icmp-type", "echo-request"): ("--icmp-type", "8"),
    ("--icmpv6-type", "echo-request"): ("--icmpv6-type", "128"),
    ("-p", "icmpv6"): ("-p", "ipv6-icmp"),
}

_Rule = frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PingRules:
    """The rules that the unit sets, and those that are in force."""

    unit: str | None
    """Text of the unit; None if it is not installed."""
    in_force: Mapping[str, str | None]
    """Output of `COMMAND -t raw -S` by command, iptables or ip6tables; None if it failed."""


def judge_ping(rules: PingRules | None) -> Check:
    """Judge whether only those hosts that may connect can ping. rules: None if they can't be read."""
    if rules is None:
        return unknown(_NAME, "only root may read its rules", _EXPECTED, AS_ROOT)
    if rules.unit is None:
        return bad(_NAME, f"{UNIT} is not installed", _EXPECTED, PROVISION)
    failed = [command for command, shown in rules.in_force.items() if shown is None]
    problems = [
        f"{problem} ({command})"
        for command, shown in rules.in_force.items()
        if shown is not None and (problem := _problem(_of_unit(rules.unit, command), shown.splitlines()))
    ]
    if problems:
        fix = f"sudo systemctl restart {UNIT}; if it is found again, another program changes the raw table"
        return bad(_NAME, "; ".join(problems), _EXPECTED, fix)
    if failed:
        fix = f"sudo {failed[0]} -t raw -S shows why"
        return unknown(_NAME, f"{' and '.join(failed)} failed", _EXPECTED, fix)
    return ok(_NAME, _EXPECTED, _EXPECTED)


def _of_unit(unit: str, command: str) -> list[str]:
    """Return the rules that a unit adds with a command, as `-A CHAIN …`."""
    added = re.findall(rf"(?m)^ExecStart=-?\S*/{command} -w \d+ -t raw -([AI] .*)$", unit)
    return [f"-A{line[1:]}" for line in added]


def _problem(wanted: Sequence[str], shown: Sequence[str]) -> str:
    """Return how the rules in force differ from the wanted ones; empty if they do not."""
    chain = [line for line in shown if line.startswith(f"-A {CHAIN} ")]
    expected = [line for line in wanted if line.startswith(f"-A {CHAIN} ")]
    everybody = "every host may get a reply"
    if f"-N {CHAIN}" not in shown:
        return f"{everybody}: the chain {CHAIN} is missing"
    if not chain:
        return f"{everybody}: the chain {CHAIN} is empty"
    jumps = {_parsed(line) for line in wanted if line.startswith(f"-A {_BASE} ")}
    base = [line for line in shown if line.startswith(f"-A {_BASE} ")]
    before = list(takewhile(lambda line: _parsed(line) not in jumps, base))
    if len(before) == len(base):
        return f"{everybody}: no rule of {_BASE} leads to {CHAIN}"
    for line in before:
        if any(("-j", target) in _parsed(line) for target in _DECIDES):
            return f"{everybody}: a rule before {CHAIN} decides: {line}"
    return _difference(expected, chain)


def _difference(expected: Sequence[str], chain: Sequence[str]) -> str:
    wanted, there = [_parsed(line) for line in expected], [_parsed(line) for line in chain]
    for line, rule in zip(expected, wanted, strict=True):
        if rule not in there:
            return f"{CHAIN} lacks: {line}"
    for line, rule in zip(chain, there, strict=True):
        if rule not in wanted:
            return f"{CHAIN} has a rule that is not of its unit: {line}"
    return "" if wanted == there else f"the rules of {CHAIN} are in another order than in its unit"


def _parsed(line: str) -> _Rule:
    """Return a rule's options in one spelling, each with its values, without the modules that it loads."""
    options: list[tuple[str, ...]] = []
    for word in shlex.split(line):
        if word.startswith("-") or not options:
            options.append((word,))
        else:
            options[-1] = (*options[-1], word)
    return frozenset(_spelled(option) for option in options if option[0] != "-m")


def _spelled(option: tuple[str, ...]) -> tuple[str, ...]:
    if option[0] in ("-s", "-d") and "/" not in option[-1] and ":" not in option[-1]:
        return (*option[:-1], f"{option[-1]}/32")
    return _SPELLED.get((option[0], option[-1]), option)
