"""Filters that write values of NetworkManager's keyfiles as it does itself (nm-settings-keyfile(5))."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible.errors import AnsibleFilterError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class FilterModule:
    """Ansible looks for this class in the role."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Return the filters by their names."""
        return {"keyfile_bytes": keyfile_bytes, "keyfile_text": keyfile_text}


def keyfile_bytes(text: str) -> str:
    """Return a text as the list of its bytes in UTF-8: `ab` is `97;98;`.

    As text, an SSID such as `12;` would be taken for such a list.
    """
    return "".join(f"{byte};" for byte in str(text).encode())


def keyfile_text(text: str) -> str:
    """Return a text with backslashes, and blanks at its beginning, escaped."""
    text = str(text)
    if _CONTROL.search(text):
        # The message does not name the text, which may be a passphrase.
        raise AnsibleFilterError("keyfile_text: the text has a control character")
    escaped = text.replace("\\", "\\\\")
    inner = escaped.lstrip(" ")
    return "\\s" * (len(escaped) - len(inner)) + inner
