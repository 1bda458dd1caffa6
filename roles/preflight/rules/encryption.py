"""Secrets in plain text: found by the file that they were read from; their values are never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from roles.preflight.rules.problem import Problem, problem
from roles.preflight.rules.variables import Variables

_MARK = b"$ANSIBLE_VAULT;"
# A value that only refers to another variable, filtered or not. Other expressions are not followed.
_REFERENCE = re.compile(r"\s*\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|[^}]*)?\}\}\s*")


def check_encryption(variables: Variables) -> Iterator[Problem]:
    """Yield a problem for each secret, or part of one, that is unencrypted in a file of the inventory.

    A secret from the command line, from a credential of AWX or from an inventory script passes: no file of
    this inventory holds it.
    """
    pending = [name for name in variables.roles.secrets if name in variables.raw]
    pending += sorted(name for name in variables.raw if name.startswith("vault_"))
    seen: set[str] = set()
    while pending:
        name = pending.pop(0)
        value = variables.raw[name]
        # A value that is encrypted itself (!vault) is not a string before it is decrypted.
        if name in seen or not isinstance(value, str | int) or isinstance(value, bool):
            continue
        seen.add(name)
        if "{{" in str(value):
            reference = _REFERENCE.fullmatch(str(value))
            pending += [reference[1]] if reference and reference[1] in variables.raw else []
            continue
        file = variables.file_of(name)
        if str(value) and file is not None and not _is_safe(file):
            fix = "encrypt the file (ansible-vault encrypt), or keep the value in the vault (make vault)"
            yield problem(name, f"is in plain text (its value is not shown); {fix}")


@cache
def _is_safe(file: Path) -> bool:
    try:
        with file.open("rb") as source:
            return source.read(len(_MARK)) == _MARK or os.access(file, os.X_OK)
    except OSError:
        # It is not a readable file, so it can't be encrypted.
        return True
