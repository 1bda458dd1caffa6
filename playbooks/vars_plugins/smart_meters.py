"""Stop a run that would select no Pi: a misspelt group, an empty inventory, a limit that matches nothing.

And one with an Ansible that is too old for the roles, which would end somewhere in them. So this file is kept
loadable for old ones and their Python, and imports the rules only after that check.

Ansible runs this plugin once it has read the inventory, before the limit and the plays. It sets no variable.
Without it, a play without hosts succeeds.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Any

from ansible import context, release
from ansible.errors import AnsibleError
from ansible.inventory.manager import split_host_pattern
from ansible.plugins.vars import BaseVarsPlugin

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

OLDEST_ANSIBLE = (2, 19)

DOCUMENTATION = """
name: smart_meters
short_description: refuses a run without a Pi
description: Fails if the inventory has no host in the group smart_meters, or the limit selects none.
options:
  stage:
    description: After the inventory was read, before the plays.
    type: str
    default: inventory
"""


class VarsModule(BaseVarsPlugin):  # type: ignore[misc] # Ansible ships no type information.
    """The vars plugin `smart_meters`."""

    is_stateless = True

    def get_vars(self, loader: Any, path: str, entities: Any) -> dict[str, Any]:
        """Return nothing. Raises AnsibleError if the run would select no Pi."""
        super().get_vars(loader, path, entities)
        for entity in entities if isinstance(entities, list) else [entities]:
            # The group that contains every other group and host.
            if entity.name == "all" and hasattr(entity, "child_groups"):
                _refuse_old(release.__version__)
                _judge(entity)
        return {}


def _refuse_old(version: str) -> None:
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_ANSIBLE:
        oldest = ".".join(map(str, OLDEST_ANSIBLE))
        fix = f"use make, which runs the one in .venv, or install ansible-core {oldest} or later"
        raise AnsibleError(f"ansible-core {version} is too old for the roles; {fix}")


def _judge(everything: Any) -> None:
    # An old Python can't load them.
    from roles.preflight.rules.selection import judge_group, judge_limit  # noqa: PLC0415

    groups = {
        group.name: [host.name for host in group.get_hosts()]
        for group in [everything, *everything.get_descendants()]
    }
    sources = [source for source in context.CLIARGS.get("inventory") or () if source]
    lines: list[str] = []
    if len(sources) == 1:
        # An inventory may also be a folder or a program.
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lines = Path(sources[0]).read_text(encoding="utf-8").splitlines()
    source = ", ".join(_shown(source) for source in sources)
    problem = judge_group(groups, source, lines)
    if problem:
        raise AnsibleError(problem)
    limit = context.CLIARGS.get("subset")
    if limit is None:
        return
    try:
        problem = judge_limit(groups, limit, _patterns(limit), source)
    except (OSError, re.error):
        # Ansible itself reports a wrong @file or ~pattern.
        return
    if problem:
        raise AnsibleError(problem)


def _patterns(limit: str) -> list[str]:
    """Split a limit as Ansible does; @FILE has one part per line."""
    parts: list[str] = []
    for part in split_host_pattern(limit):
        lines = Path(part[1:]).read_text(encoding="utf-8").split("\n") if part.startswith("@") else [part]
        parts += [line.strip() for line in lines]
    return [part for part in parts if part]


def _shown(source: str) -> str:
    """Return a source's path, relative if it is below the working directory."""
    path = Path(os.path.abspath(source))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
