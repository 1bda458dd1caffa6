"""One round trip to a Pi: a script of ours, run as root by the connection that Ansible has."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure

FILES = Path(__file__).resolve().parents[1] / "files"
_TEXT_ENDS = "# end of the text"


@dataclass(frozen=True, slots=True)
class Said:
    """What came back: the exit status, and both outputs; `off` where no connection could be made."""

    status: int
    text: str
    off: bool = False


def run_script(
    action: Any, script: str, arguments: Sequence[str] = (), text: str | None = None, *, apart: bool = False
) -> Said:
    """Run one of files/*.sh as root, with `text` at its standard input in base64.

    apart: as a unit of systemd's, which goes on to its end though the connection breaks, and of which there
    is one at a time.
    """
    body = (FILES / script).read_text(encoding="utf-8")
    # A function is run only once all of it has come: what a broken connection has cut off does nothing.
    given = base64.b64encode((text or "").encode()).decode()
    whole = f"main() {{\n{body}\n}}\nmain \"$@\" <<'{_TEXT_ENDS}'\n{given}\n{_TEXT_ENDS}\nexit\n"
    command = shlex.join(["/bin/sh", "-s", "--", *arguments])
    if apart:
        unit = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--unit=smart-meter-rollout"]
        command = f"{shlex.join(unit)} {command}"
    return _said(action, command, whole, root=True)


def run_python(action: Any, source: str, argument: str) -> Said:
    """Run a Python program on the Pi, as the user that Ansible logs in as."""
    return _said(action, shlex.join(["/usr/bin/python3", "-", argument]), source, root=False)


def _said(action: Any, command: str, given: str, *, root: bool) -> Said:
    try:
        answer = action._low_level_execute_command(command, sudoable=root, in_data=given.encode())
    except AnsibleConnectionFailure as error:
        return Said(255, str(error.message), off=True)
    return Said(int(answer["rc"]), f"{answer['stdout']}\n{answer['stderr']}".strip())
