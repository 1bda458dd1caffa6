"""Which Pis a run selects: an inventory or a limit that selects none is a mistake, not a success."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from roles.preflight.rules.problem import near, show

GROUP = "smart_meters"
"""The group that every playbook runs on."""
_BUILT_IN = {"all", "ungrouped"}
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_SUBSCRIPT = re.compile(r"(.+)\[-?\d+(?:[:-]\d*)?\]\Z")
_LISTED = 5

Groups = Mapping[str, Collection[str]]
"""The hosts of every group, those of its child groups included."""


def judge_group(groups: Groups, source: str, lines: Sequence[str] = ()) -> str | None:
    """Return what is wrong if the inventory has no Pi, else None.

    source: the inventory's file. lines: its content, to find the line with a misspelt group.
    """
    if groups.get(GROUP):
        return None
    others = {name: hosts for name, hosts in groups.items() if name not in {*_BUILT_IN, GROUP}}
    if GROUP in groups:
        filled = [name for name, hosts in others.items() if hosts]
        fix = f"add a Pi to the hosts of {GROUP} or of one of its child groups (make site NAME=… adds a site)"
        if filled:
            verb = "is" if len(filled) == 1 else "are"
            fix += f"; {_listed(filled)} with hosts {verb} not below it"
        return f"{source}: the group {GROUP} has no hosts; {fix}"
    meant = near(GROUP, others)
    name = meant.removeprefix("; did you mean ").removesuffix("?")
    fix = f"; rename {name} to {GROUP}" if meant else "; make the sites' groups its children"
    place = f"{source}:{line}" if meant and (line := _line_of(name, lines)) else source
    return f"{place}: there is no group {GROUP}, on which every playbook runs{fix}"


def judge_limit(groups: Groups, limit: str, patterns: Sequence[str], source: str) -> str | None:
    """Return what is wrong with a limit: a part of it matches nothing, or it selects no Pi.

    groups: with `all`, and with Pis in the playbooks' group. patterns: the parts of the limit.
    """
    if not patterns:
        # Ansible ignores an empty limit: a script with an empty variable would change every Pi.
        return f"--limit {show(limit)}: is empty; name Pis or groups of {source}, or leave --limit out"
    names = [*groups, *groups["all"]]
    for pattern in patterns:
        if _selected(pattern, groups) is None:
            word = pattern.lstrip("!&")
            known = near(word.lower(), names) or f"; {source} has {_listed(groups[GROUP])}"
            return f"--limit {show(limit)}: no host and no group of {source} matches {show(word)}{known}"
    left = _evaluate(patterns, groups)
    if left.isdisjoint(groups[GROUP]):
        return (
            f"--limit {show(limit)}: selects no Pi of the group {GROUP}; "
            f"{source} has {_listed(groups[GROUP])} there"
        )
    return None


def _evaluate(patterns: Sequence[str], groups: Groups) -> set[str]:
    """Return the hosts that a limit selects, with Ansible's rules (a subscript selects all here)."""
    regular = [pattern for pattern in patterns if not pattern.startswith(("!", "&"))]
    left: set[str] = set()
    for pattern in regular or ["all"]:
        left |= _selected(pattern, groups) or set()
    for pattern in patterns:
        if pattern.startswith("&"):
            left &= _selected(pattern, groups) or set()
    for pattern in patterns:
        if pattern.startswith("!") and not _SUBSCRIPT.match(pattern):
            left -= _selected(pattern, groups) or set()
    return left


def _selected(pattern: str, groups: Groups) -> set[str] | None:
    """Return the hosts that one part of a limit matches; None if it matches neither group nor host."""
    word = pattern.removeprefix("!").removeprefix("&")
    hosts = set(groups["all"])
    if word in _LOCAL and word not in hosts:
        return set()
    if word in hosts:
        return {word}
    if not word.startswith("~") and (subscripted := _SUBSCRIPT.match(word)):
        word = subscripted[1]
    matches = re.compile(word[1:] if word.startswith("~") else fnmatch.translate(word)).match
    found_groups = [name for name in groups if matches(name)]
    found = {host for name in found_groups for host in groups[name]} | {
        host for host in hosts if matches(host)
    }
    return found if found or found_groups else None


def _line_of(name: str, lines: Sequence[str]) -> int | None:
    """Return the number of the line that begins with a group's name, in YAML or INI."""
    head = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(name)}[\"']?\s*[:\]]")
    return next((number for number, line in enumerate(lines, 1) if head.match(line)), None)


def _listed(names: Collection[str]) -> str:
    return ", ".join(_shortened(sorted(names)))


def _shortened(names: Sequence[str]) -> Iterator[str]:
    yield from names[:_LISTED]
    if len(names) > _LISTED:
        yield f"and {len(names) - _LISTED} more"
