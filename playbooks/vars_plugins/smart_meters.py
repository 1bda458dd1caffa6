"""Stop a run that would select no Pi: a misspelt group, an empty inventory, a limit that matches nothing.

And one with an Ansible that is too old for the roles, which would end somewhere in them.

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

from roles.preflight.rules.selection import judge_ansible, judge_group, judge_limit  # noqa: E402 - the path comes first.

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
                if problem := judge_ansible(release.__version__):
                    raise AnsibleError(problem)
                _judge(entity)
        return {}


def _judge(everything: Any) -> None:
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
    if problem := judge_group(groups, source, lines):
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
