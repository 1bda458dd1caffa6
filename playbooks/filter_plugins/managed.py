"""The files that a role manages: which are not on the Pi as they have to be, and what to write.

`differing`: arguments are the look's files (`preflight_look.files`), the role's (`__ROLE_files`: by path,
mode, owner and group), and their texts in the same order. Returns the paths. A task that writes a file runs
only if its path is among them.

`with_texts`: arguments are the role's files, their texts, and the paths to write. Returns what the module
`managed_files` takes, in the order of the role's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


class FilterModule:
    """Ansible looks for this class beside the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"differing": differing, "with_texts": with_texts}


def differing(
    found: Mapping[str, Any], files: Mapping[str, Mapping[str, str]], texts: Sequence[str]
) -> list[str]:
    """Return the paths of the files that are missing, or differ in their text, mode, owner or group."""
    _count("differing", files, texts)
    unknown = [path for path in files if path not in found]
    if unknown:
        # Without an answer, a file would be written in each run.
        raise AnsibleFilterError(f"differing: the look did not ask for {', '.join(unknown)}")
    return [
        path
        for (path, file), text in zip(files.items(), texts, strict=True)
        if found[path] is None
        or isinstance(found[path], str)
        or list(found[path]) != [_digest(text), file["mode"], file["owner"], file["group"]]
    ]


def with_texts(
    files: Mapping[str, Mapping[str, str]],
    texts: Sequence[str],
    paths: Sequence[str],
    validate: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Return the files of these paths with their texts.

    validate: the commands that refuse a wrong text, by path.
    """
    commands = validate or {}
    _count("with_texts", files, texts)
    unknown = [path for path in paths if path not in files]
    if unknown:
        raise AnsibleFilterError(f"with_texts: the role does not manage {', '.join(unknown)}")
    return [
        {**file, "path": path, "text": text, **({"validate": commands[path]} if path in commands else {})}
        for (path, file), text in zip(files.items(), texts, strict=True)
        if path in paths
    ]


def _count(name: str, files: Mapping[str, Any], texts: Sequence[str]) -> None:
    if len(files) != len(texts):
        raise AnsibleFilterError(f"{name}: {len(files)} files and {len(texts)} texts")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
