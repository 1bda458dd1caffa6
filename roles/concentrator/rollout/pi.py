"""Run a script on a Pi as root, in one round trip over Ansible's own connection."""

from __future__ import annotations

import base64
import getpass
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

FILES = Path(__file__).resolve().parents[1] / "files"
REFUSED = 3
"""The scripts' exit status if they have changed nothing; their output is the reason."""
BUSY = 75
"""The scripts' exit status while another change is in progress on the Pi (sysexits.h: EX_TEMPFAIL)."""
_COMMON = "common.sh"
_TEXT_ENDS = "# end of the text"
_UNIT = "smart-meter-rollout"
# What systemd-run prints if the unit is running already.
_UNIT_RUNS = f"Unit {_UNIT}.service was already loaded"
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The exit status of a command on the Pi, and what it printed.

    out: its standard output. text: both outputs, for people; if the command never ran, what was printed
    instead. reached: False if the connection or sudo failed; then `text` is Ansible's message.
    """

    status: int
    text: str
    out: str = ""
    reached: bool = True


def run_script(
    action: Any,
    script: str,
    arguments: Sequence[str] = (),
    text: str | None = None,
    *,
    detached: bool = False,
) -> Answer:
    """Run one of files/*.sh as root, with `text` in base64 as its standard input.

    detached: in a systemd unit, of which there is one at a time. It runs to its end even if the connection
    breaks; its variable CONTROLLER identifies this run.
    """
    command = shlex.join(["/bin/sh", "-s", "--", *arguments])
    if detached:
        unit = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", f"--unit={_UNIT}"]
        command = f"{shlex.join([*unit, f'--setenv=CONTROLLER={_this_run()}'])} {command}"
    answer = _execute(action, command, assembled(script, text or ""), root=True)
    if _UNIT_RUNS in answer.text:
        return Answer(BUSY, "another run is changing it at this moment")
    return answer


def assembled(script: str, text: str) -> str:
    """Return the shell input that runs a script of files/ with the functions of common.sh.

    The script is the body of a shell function, which runs only once all of it has arrived: if the connection
    breaks before, nothing runs. The text after it may still arrive cut off; the scripts check that.
    """
    common, body = ((FILES / name).read_text(encoding="utf-8") for name in (_COMMON, script))
    encoded = base64.b64encode(text.encode()).decode()
    return f"main() {{\n{common}{body}\n}}\nmain \"$@\" <<'{_TEXT_ENDS}'\n{encoded}\n{_TEXT_ENDS}\nexit\n"


def run_in_turn(
    action: Any,
    host: str,
    script: str,
    arguments: Sequence[str] = (),
    text: str | None = None,
    *,
    patience: float,
    detached: bool = True,
) -> Answer:
    """Run a script detached, once no other change is in progress on the Pi.

    patience: seconds after which BUSY is returned. detached: false in a root without a running systemd.
    """
    answer = wait_for_turn(
        action,
        lambda: run_script(action, script, arguments, text, detached=detached),
        lambda busy: f"{host}: {busy.text}; waiting until that is decided",
        patience=patience,
    )
    return Answer(BUSY, f"{answer.text}, after {patience:.0f} s") if answer.status == BUSY else answer


def wait_for_turn(
    action: Any, attempt: Callable[[], Answer], notice: Callable[[Answer], str], *, patience: float
) -> Answer:
    """Repeat an attempt while its answer is BUSY; return the last answer.

    notice: returns the line to display while waiting; it is displayed again only if it changes.
    patience: seconds after which a BUSY answer is returned.
    """
    deadline = time.monotonic() + patience
    shown = ""
    while (answer := attempt()).status == BUSY and time.monotonic() <= deadline:
        if (line := notice(answer)) != shown:
            # A warning would appear only with the task's result.
            action._display.display(line)
            shown = line
        time.sleep(_PAUSE)
    return answer


def _this_run() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # In a container, with a user id that has no name.
        user = str(os.getuid())
    # Ansible runs each task in a child process; its parent is this run.
    return f"{user}@{socket.gethostname()}, process {os.getppid()}"


def run_python(action: Any, source: str, argument: str) -> Answer:
    """Run a Python program on the Pi, as the user that Ansible logs in as."""
    return _execute(action, shlex.join(["/usr/bin/python3", "-", argument]), source, root=False)


def marked(command: str, mark: str) -> str:
    """Return a command line that prints a line before and after the command, on both outputs.

    Output of a login shell's start-up files, sudo, PAM or a banner is outside of these lines.
    """
    return (
        f"mark() {{ printf '\\n%s %s\\n' \"$1\" {mark}; printf '\\n%s %s\\n' \"$1\" {mark} >&2; }}; "
        f"mark begin; {command}; status=$?; mark end; exit $status"
    )


def between(output: str, mark: str) -> str | None:
    """Return what a marked command printed on one of its outputs; None if it did not run to its end."""
    found = re.search(rf"^begin {mark}\r?$(.*)^end {mark}\r?$", output, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else None


def _execute(action: Any, command: str, stdin: str, *, root: bool) -> Answer:
    mark = secrets.token_hex(8)
    try:
        result = action._low_level_execute_command(
            marked(command, mark), sudoable=root, in_data=stdin.encode()
        )
    except AnsibleError as error:
        return Answer(255, str(error.message), reached=False)
    outputs = [str(result[name]) for name in ("stdout", "stderr")]
    own = [between(output, mark) for output in outputs]
    text = "\n".join(
        output.strip() if part is None else part for output, part in zip(outputs, own, strict=True)
    )
    return Answer(int(result["rc"]), text.strip(), own[0] or "")
