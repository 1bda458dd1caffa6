"""Which characters a name may have.

Programs split log lines at blanks, "|" and the brackets of the tag; a name must not look like one of them.
"""

from __future__ import annotations

import re

from smart_meter.config.toml_table import Table, show

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
IDENTIFIER_HINT = "1 to 32 letters, digits, '_', '.' or '-', a letter first"
LABEL = re.compile(r"[^\s\[\]|](?:[^\[\]|]{0,30}[^\s\[\]|])?")
LABEL_HINT = "1 to 32 printable characters without '[', ']' or '|', no blank at either end"
UNIT = re.compile(r"[^\s\[\]|=]{0,16}")
UNIT_HINT = "at most 16 printable characters without blanks, '[', ']', '|' or '='"
INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
ANY_TEXT = re.compile(r".*")


def check_unique(tables: list[Table], key: str, *, fold: bool) -> None:
    """Add a problem to each table whose string under a key was used before. fold: ignore case."""
    seen: dict[str, Table] = {}
    for table in tables:
        value = table.data.get(key)
        if not isinstance(value, str):
            continue
        comparable = value.upper() if fold else value
        if comparable in seen:
            table.problem(key, f"{show(value)} is already used in {seen[comparable].path}; give each its own")
        seen.setdefault(comparable, table)
