"""One round trip to a Pi: a script of ours, run as root by the connection that Ansible has."""

from __future__ import annotations

import base64
import getpass
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

FILES = Path(__file__).resolve().parents[1] / "files"
REFUSED = 3
"""The scripts' exit status where they have changed nothing, and say why."""
BUSY = 75
"""The scripts' exit status while another change is under way on the Pi (sysexits.h: EX_TEMPFAIL)."""
_TEXT_ENDS = "# end of the text"
_UNIT = "smart-meter-rollout"
# What systemd-run says where the unit runs already.
_UNIT_RUNS = f"Unit {_UNIT}.service was already loaded"
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """What came back: the exit status, and what the command itself printed.

    out: its standard output. text: both outputs, for people; where it never ran, what came instead.
    reached: False where the connection or sudo failed; `text` is Ansible's message, then.
    """

    status: int
    text: str
    out: str = ""
    reached: bool = True


def run_script(
    action: Any, script: str, arguments: Sequence[str] = (), text: str | None = None, *, apart: bool = False
) -> Said:
    """Run one of files/*.sh as root, with `text` at its standard input in base64.

    apart: as a unit of systemd's, which goes on to its end though the connection breaks, and of which there
    is one at a time; CONTROLLER tells it who this run is.
    """
    command = shlex.join(["/bin/sh", "-s", "--", *arguments])
    if apart:
        unit = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", f"--unit={_UNIT}"]
        command = f"{shlex.join([*unit, f'--setenv=CONTROLLER={_this_run()}'])} {command}"
    said = _said(action, command, assembled(script, text or ""), root=True)
    return Said(BUSY, "another run is changing it at this moment") if _UNIT_RUNS in said.text else said


def assembled(script: str, text: str) -> str:
    """Return what a shell of the Pi's is given to read.

    A function is run only once all of it has come: what a broken connection has cut off does nothing. The
    text behind it may be cut all the same, and the shell takes that for its end.
    """
    body = (FILES / script).read_text(encoding="utf-8")
    given = base64.b64encode(text.encode()).decode()
    return f"main() {{\n{body}\n}}\nmain \"$@\" <<'{_TEXT_ENDS}'\n{given}\n{_TEXT_ENDS}\nexit\n"


def run_in_turn(
    action: Any,
    host: str,
    script: str,
    arguments: Sequence[str] = (),
    text: str | None = None,
    *,
    patience: float,
) -> Said:
    """Run a script apart, once no other change is under way on the Pi; tell the operator of the wait.

    patience: seconds, after which BUSY is returned.
    """
    deadline = time.monotonic() + patience
    told = ""
    while (said := run_script(action, script, arguments, text, apart=True)).status == BUSY:
        if time.monotonic() > deadline:
            return Said(BUSY, f"{said.text}, after {patience:.0f} s")
        if said.text != told:
            # At once, while a warning would come with the task's result.
            action._display.display(f"{host}: {said.text}; waiting until that is decided")
            told = said.text
        time.sleep(_PAUSE)
    return said


def _this_run() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # In a container, under a number that has no name.
        user = str(os.getuid())
    # Each task runs in a process of its own, a child of the one that is this run.
    return f"{user}@{socket.gethostname()}, process {os.getppid()}"


def run_python(action: Any, source: str, argument: str) -> Said:
    """Run a Python program on the Pi, as the user that Ansible logs in as."""
    return _said(action, shlex.join(["/usr/bin/python3", "-", argument]), source, root=False)


def marked(command: str, mark: str) -> str:
    """Return a command line that prints a line before and after the command, on both outputs.

    What a login shell's start-up files, sudo, PAM or a banner print on the way is outside of these lines.
    """
    return (
        f"mark() {{ printf '\\n%s %s\\n' \"$1\" {mark}; printf '\\n%s %s\\n' \"$1\" {mark} >&2; }}; "
        f"mark begin; {command}; status=$?; mark end; exit $status"
    )


def between(output: str, mark: str) -> str | None:
    """Return what a marked command printed on one of its outputs; None where it did not run to its end."""
    found = re.search(rf"^begin {mark}\r?$(.*)^end {mark}\r?$", output, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else None


def _said(action: Any, command: str, given: str, *, root: bool) -> Said:
    mark = secrets.token_hex(8)
    try:
        answer = action._low_level_execute_command(
            marked(command, mark), sudoable=root, in_data=given.encode()
        )
    except AnsibleError as error:
        return Said(255, str(error.message), reached=False)
    outputs = [str(answer[name]) for name in ("stdout", "stderr")]
    own = [between(output, mark) for output in outputs]
    text = "\n".join(
        output.strip() if part is None else part for output, part in zip(outputs, own, strict=True)
    )
    return Said(int(answer["rc"]), text.strip(), own[0] or "")
