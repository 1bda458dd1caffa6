"""Add a site to the inventory: a group in hosts.yml, and the file of variables that its Pis share.

    tools/add_site.py east      (make site NAME=east)

hosts.yml keeps its comments and its order: lines are added at the end of the sites, and what comes out is
read again before it replaces the file. Nothing that is there already is changed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
PREFIX = "site_"

# Ansible accepts letters, digits and underscores in a group's name; it also names a folder and a vault id.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Ansible's own groups would look right as `site_all`, and mislead in --limit.
_RESERVED = {"all", "ungrouped"}

_GROUP = """\
    {group}:
      hosts:
        # One line per Pi, such as the next one; its own variables are in host_vars/pi-{dashed}.yml.
        # pi-{dashed}:
"""

_VARIABLES = """\
---
# Site {title}: the variables that its Pis share. roles/*/defaults/main.yml have all variables.
preflight_site: {name}

# The field zone's Wi-Fi. Its passphrase is in the vault: one for all sites (make vault), or this site's own
# (make vault SITE={name}), which then counts here.
network_field_ssid: {dashed}-field
network_field_psk: "{{{{ vault_network_field_psk }}}}"

# How the controller reaches this site if it can't reach the control network directly, or if another site has
# the same addresses: a machine there that SSH goes through, as a name of ~/.ssh/config or [USER@]HOST[:PORT].
# preflight_jump_host: gate.{dashed}.example
"""


class SiteError(Exception):
    """The site can't be added; the message has the reason and the fix."""


def add_site(inventory: Path, name: str) -> list[Path]:
    """Add a site; return the files that were written. Raises SiteError, and then nothing was written."""
    _check_name(name)
    group = PREFIX + name
    hosts = inventory / "hosts.yml"
    folder = inventory / "group_vars" / group
    try:
        before = hosts.read_text(encoding="utf-8")
        fleet = yaml.safe_load(before)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SiteError(f"{hosts}: can't be read: {error}; fix that first") from error
    if group in _groups(fleet):
        raise SiteError(f"{hosts}: there is a group {group} already; choose another name, or edit that one")
    for taken in (folder, folder.with_suffix(".yml"), folder.with_suffix(".yaml")):
        if taken.exists():
            raise SiteError(f"{taken}: already exists; choose another name, or remove it")
    names = {"name": name, "group": group, "dashed": name.replace("_", "-")}
    names["title"] = name.replace("_", " ").title()
    after = _with_group(before, _GROUP.format(**names))
    if after is None or not _adds_only(fleet, after, group):
        lines = _GROUP.format(**names)
        raise SiteError(f"{hosts}: has an unexpected form; add by hand:\n{lines}")
    folder.mkdir(parents=True)
    variables = folder / "main.yml"
    variables.write_text(_VARIABLES.format(**names), encoding="utf-8")
    draft = hosts.with_name(".hosts.yml.draft")
    draft.write_text(after, encoding="utf-8")
    draft.chmod(hosts.stat().st_mode & 0o777)
    os.replace(draft, hosts)
    return [hosts, variables]


def _check_name(name: str) -> None:
    if name.startswith(PREFIX):
        raise SiteError(f"{name!r}: give the name without {PREFIX}: {name.removeprefix(PREFIX)!r}")
    if not _NAME.fullmatch(name) or name in _RESERVED:
        rule = "give lower-case letters, digits and underscores, a letter first, 40 at most, such as 'east'"
        raise SiteError(f"{name!r} can't be a site's name; {rule}")


def _groups(node: object) -> set[str]:
    """Return the names of all groups in an inventory, at any depth."""
    if not isinstance(node, dict):
        return set()
    found: set[str] = set()
    for name, group in node.items():
        found.add(str(name))
        if isinstance(group, dict):
            found |= _groups(group.get("children"))
    return found


def _with_group(text: str, lines: str) -> str | None:
    """Return the text with the lines at the end of `smart_meters: children:`; None if that is missing."""
    rows = text.splitlines(keepends=True)
    place = None
    inside = False
    for number, row in enumerate(rows):
        content = row.strip()
        if not content or content.startswith("#"):
            continue
        depth = len(row) - len(row.lstrip(" "))
        if depth == 0:
            if place is not None and inside:
                break
            inside = content == "smart_meters:"
            place = None
        elif inside and depth == 2:
            if place is not None:
                break
            place = number + 1 if content == "children:" else None
        elif inside and place is not None:
            place = number + 1
    if place is None:
        return None
    # The comments of the last site, deeper than a site's own line, belong to it.
    while place < len(rows) and re.match(r" {5,}#", rows[place]):
        place += 1
    if rows and not rows[place - 1].endswith("\n"):
        rows[place - 1] += "\n"
    return "".join([*rows[:place], lines, *rows[place:]])


def _adds_only(before: Any, text: str, group: str) -> bool:
    """Return whether the new text is the old inventory with one more empty group."""
    try:
        after = yaml.safe_load(text)
        added = after["smart_meters"]["children"].pop(group)
        # The first site turns an empty value into a mapping.
        if not after["smart_meters"]["children"]:
            after["smart_meters"]["children"] = before["smart_meters"]["children"]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return False
    return bool(added == {"hosts": None} and after == before)


def main(arguments: list[str] | None = None) -> int:
    """Add the site and print the next steps."""
    parser = argparse.ArgumentParser(prog="make site", description="Add a site to the inventory.")
    parser.add_argument("name", help="the site's name, such as east")
    parser.add_argument("--inventory", type=Path, default=REPOSITORY / "inventory")
    given = parser.parse_args(arguments)
    try:
        hosts, variables = add_site(given.inventory, given.name)
    except SiteError as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    shown = [os.path.relpath(path) for path in (hosts, variables)]
    print(f"site: added {PREFIX}{given.name} to {shown[0]}, and made {shown[1]}")
    print("Next:")
    print(f"  1. {shown[1]}: the Wi-Fi's name; a jump host if the site is not reached directly")
    print(f"  2. make vault SITE={given.name}    if its passphrase differs from that of all sites")
    print(f"  3. {shown[0]}: one line per Pi; host_vars/PI.yml: its addresses, and its present address")
    print(f"  4. make check LIMIT={PREFIX}{given.name}     reports what is missing; touches no Pi")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
