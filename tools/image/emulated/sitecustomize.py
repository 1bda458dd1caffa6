"""Caches the code that Python compiles from archives, which takes most of a task's time under emulation.

Ansible sends a task's module as an archive of about a hundred source files, which are nearly the same for
each task. While an image is built for another processor, Python imports this module at its start
(PYTHONPATH); the folder and its cache end with the build space.
"""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport
from types import CodeType

_FOLDER = f"{os.path.dirname(__file__)}/cache"
_compile = zipimport._compile_source  # type: ignore[attr-defined]


def _cached(path: str, source: bytes) -> CodeType:
    # The path is part of the code object, and shown in tracebacks only.
    file = f"{_FOLDER}/{os.geteuid()}-{_imp.source_hash(0, source).hex()}"
    try:
        with open(file, "rb") as cache:
            return marshal.load(cache)  # type: ignore[no-any-return]  # noqa: S302  # It was written below.
    except (OSError, EOFError, ValueError):
        code: CodeType = _compile(path, source)
    try:
        new = f"{file}.{os.getpid()}"
        with open(new, "wb") as cache:
            marshal.dump(code, cache)
        os.replace(new, file)
    except OSError:  # Another user's process.
        pass
    return code


zipimport._compile_source = _cached  # type: ignore[attr-defined]
