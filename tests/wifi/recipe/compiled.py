"""Caches the code that Python compiles from archives. Under emulation this halves the time of Ansible tasks.

Ansible sends a task's module as an archive of about a hundred source files, which are nearly the same for
each task. The system's Python imports this module at its start (compiled.pth); the concentrator's Python does
not.
"""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport
from types import CodeType

_FOLDER = "/var/cache/compiled"
_compile = zipimport._compile_source  # type: ignore[attr-defined]


def _cached(path: str, source: bytes) -> CodeType:
    # A file per user, so that no user's code is run by another.
    file = f"{_FOLDER}/{os.geteuid()}-{_imp.source_hash(0, source).hex()}"
    try:
        with open(file, "rb") as cache:
            return marshal.load(cache)  # type: ignore[no-any-return]  # noqa: S302  # It was written below.
    except (OSError, EOFError, ValueError):
        code: CodeType = _compile(path, source)
    new = f"{file}.{os.getpid()}"
    with open(new, "wb") as cache:
        marshal.dump(code, cache)
    os.replace(new, file)
    return code


zipimport._compile_source = _cached  # type: ignore[attr-defined]
