"""Run ansible-playbook as this project needs it; the arguments are ansible-playbook's.

Ansible ignores the ansible.cfg of a folder that everybody may write to, does not start without a locale of
UTF-8, and reports an inventory that is not YAML once for each plugin that could not read it.
"""

from __future__ import annotations

import argparse
import configparser
import locale
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
_CONFIG = REPOSITORY / "ansible.cfg"
_YAML = {".yml", ".yaml"}


def broken_inventory(path: Path) -> str | None:
    """Return where and why an inventory is not YAML, on one line; None if it is, or is something else."""
    if path.suffix not in _YAML or not path.is_file() or os.access(path, os.X_OK):
        return None
    content = path.read_bytes()
    if content.startswith(b"$ANSIBLE_VAULT;"):
        return None
    try:
        root = yaml.compose(content, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        context = f"{error.context}, " if error.context else ""
        return f"{place}: {context}{error.problem}; fix the YAML there, or in the line above"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return f"{path}: {' '.join(str(error).split())}; write it as YAML in UTF-8"
    if root is None or root.tag.endswith(":null") or isinstance(root, yaml.MappingNode):
        # The playbooks' own plugin reports an empty one.
        return None
    return f"{path}:{root.start_mark.line + 1}: is not a record of groups; begin with the group smart_meters:"


def inventories(arguments: Sequence[str]) -> list[Path]:
    """Return the inventories that the arguments name, or the one in ansible.cfg."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--inventory", "--inventory-file", action="append", default=[])
    named = [Path(each) for each in parser.parse_known_args(arguments)[0].inventory]
    if named:
        return named
    config = configparser.ConfigParser(interpolation=None)
    config.read(_CONFIG, encoding="utf-8")
    return [Path(os.path.relpath(REPOSITORY / config["defaults"]["inventory"]))]


def environment() -> dict[str, str]:
    """Return the variables that ansible-playbook needs in addition to those that are set."""
    needed = {} if "ANSIBLE_CONFIG" in os.environ else {"ANSIBLE_CONFIG": str(_CONFIG)}
    locale.setlocale(locale.LC_CTYPE, "")
    if locale.nl_langinfo(locale.CODESET).upper() != "UTF-8":
        needed["LC_ALL"] = "C.UTF-8"
    return needed


def main(arguments: Sequence[str]) -> None:
    """Run ansible-playbook in place of this program, or exit with 1 if the inventory is not YAML."""
    if problems := [problem for path in inventories(arguments) if (problem := broken_inventory(path))]:
        sys.exit("\n".join(problems))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    os.execve(program, [program, *arguments], {**os.environ, **environment()})  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
