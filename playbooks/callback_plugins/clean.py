"""The output of the playbooks: Ansible's own, with the control characters that a Pi sends made visible."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.callback.default import CallbackModule as Default

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from roles.preflight.rules.terminal import protect  # noqa: E402 - the path comes first.

DOCUMENTATION = """
name: clean
type: stdout
short_description: Ansible's own output, fit for a terminal
description: Prints what the callback default prints. Control characters are shown as escapes.
extends_documentation_fragment: [default_callback, result_format_callback]
"""


class CallbackModule(Default):  # type: ignore[misc] # Ansible ships no type information.
    """The output of every playbook but drift.yml's, which has its own."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "clean"

    def __init__(self) -> None:
        super().__init__()
        protect()
