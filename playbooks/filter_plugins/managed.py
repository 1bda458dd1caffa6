"""The filter `differing`: which of the files that a role manages are not on the Pi as they have to be.

Arguments: the look's files (`preflight_look.files`), the role's (`__ROLE_files`: by path, mode, owner and
group), and their texts in the same order. Returns the paths. A task that writes a file runs only if its path
is among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


class FilterModule:
    """Ansible looks for this class beside the playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"differing": differing}


def differing(
    found: Mapping[str, Any], files: Mapping[str, Mapping[str, str]], texts: Sequence[str]
) -> list[str]:
    """Return the paths of the files that are missing, or differ in their text, mode, owner or group."""
    if len(files) != len(texts):
        raise AnsibleFilterError(f"differing: {len(files)} files and {len(texts)} texts")
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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
