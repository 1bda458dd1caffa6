"""Keeps what Python compiles out of archives: an emulated processor spends half of each Ansible task on that.

Ansible sends a task's module as an archive of some hundred source files, nearly all of them the same every
time. The system's own Python imports this at its start (compiled.pth); the concentrator's never sees it.
"""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport
from types import CodeType

_FOLDER = "/var/cache/compiled"
_compile = zipimport._compile_source  # type: ignore[attr-defined]


def _kept(path: str, source: bytes) -> CodeType:
    # Each user's apart: none can replace another's.
    file = f"{_FOLDER}/{os.geteuid()}-{_imp.source_hash(0, source).hex()}"
    try:
        with open(file, "rb") as kept:
            return marshal.load(kept)  # type: ignore[no-any-return]  # noqa: S302  # It was written below.
    except (OSError, EOFError, ValueError):
        code: CodeType = _compile(path, source)
    new = f"{file}.{os.getpid()}"
    with open(new, "wb") as kept:
        marshal.dump(code, kept)
    os.replace(new, file)
    return code


zipimport._compile_source = _kept  # type: ignore[attr-defined]
