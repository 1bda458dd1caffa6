"""The firewall's rules, as `ufw show added` prints them and the role `firewall` writes them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

RULE = re.compile(
    r"ufw allow(?: in on (?P<interface>[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}))?"
    r" from (?P<source>any|[0-9a-f.:/]{2,50}) to (?P<target>any|[0-9a-f.:]{2,45})"
    r" port (?P<port>\d{1,5}(?:[:,]\d{1,5}){0,14}) proto (?P<proto>tcp|udp)"
    r" comment '(?P<comment>[^'\x00-\x1f\x7f]{1,200})'\Z"
)
_COMMENT = re.compile(r" comment '[^']*'$")


def fault(line: str) -> str:
    """Return what is wrong with a rule; empty if nothing."""
    found = RULE.match(line)
    if not found:
        return "is not a rule as the role firewall writes it"
    try:
        if found["source"] != "any":
            ip_network(found["source"])
        if found["target"] != "any":
            ip_address(found["target"])
    except ValueError as error:
        return f"has what is not a network or an address: {error}"
    if any(not 0 < int(port) < 65536 for port in re.split("[:,]", found["port"])):
        return "has a port that is not 1 to 65535"
    return ""


def admits(line: str, port: int) -> bool:
    """Whether a valid rule admits connections to one port, or to a list or range with it."""
    found = RULE.match(line)
    if not found or found["proto"] != "tcp":
        return False
    for part in found["port"].split(","):
        first, _, last = part.partition(":")
        if int(first) <= port <= int(last or first):
            return True
    return False


def commands(wanted: Sequence[str], present: Iterable[str]) -> list[list[str]]:
    """Return ufw's arguments that make the rules the wanted ones. present: from `ufw show added`."""
    there = [line for line in present if line.startswith("ufw ")]
    bare = {_COMMENT.sub("", line) for line in wanted}
    found = [shlex.split(line)[1:] for line in wanted if line not in there]
    for line in there:
        # If only the comment differs, adding the rule has changed it.
        if line not in wanted and _COMMENT.sub("", line) not in bare:
            words = shlex.split(_COMMENT.sub("", line))
            route = ["route"] if words[1] == "route" else []
            found.append(["--force", *route, "delete", *words[1 + len(route) :]])
    return found
