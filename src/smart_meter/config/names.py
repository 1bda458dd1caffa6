"""Which characters names may contain.

Log lines are parsed by blanks, "|" and the brackets of the tag, so names must not contain them.
"""

from __future__ import annotations

import re

from smart_meter.config.toml_table import Table, show

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
IDENTIFIER_HINT = "1 to 32 letters, digits, '_', '.' or '-', starting with a letter"
LABEL = re.compile(r"[^\s\[\]|](?:[^\[\]|]{0,30}[^\s\[\]|])?")
LABEL_HINT = "1 to 32 printable characters without '[', ']' or '|', and without blanks at the ends"
UNIT = re.compile(r"[^\s\[\]|=]{0,16}")
UNIT_HINT = "at most 16 printable characters without blanks, '[', ']', '|' or '='"
ANY_TEXT = re.compile(r".*")


def check_unique(tables: list[Table], key: str, *, fold: bool) -> None:
    """Report every table whose value of `key` is already used by an earlier one. fold: ignore the case."""
    seen: dict[str, Table] = {}
    for table in tables:
        value = table.data.get(key)
        if not isinstance(value, str):
            continue
        comparable = value.upper() if fold else value
        if comparable in seen:
            table.problem(key, f"{show(value)} is already used in {seen[comparable].path}; give each its own")
        seen.setdefault(comparable, table)
