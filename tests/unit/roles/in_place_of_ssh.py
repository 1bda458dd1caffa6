"""In ssh's place: a program that prints what a Pi's login prints, and then runs the command on this machine.

It may refuse instead: what stands in `refusals` beside it, a message a time, is printed as an error of ssh's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

# Each line looks like an answer. Start-up files and MOTD print before the command; on a terminal, sudo does.
NOISE = """hello from ~/.bashrc
state=inactive
config=bm90aGluZw==
begin 0123456789abcdef
1700000000
sudo: unable to resolve host lab-pi: Name or service not known

We trust you have received the usual lecture from the local System
Administrator. It usually boils down to these three things:
    #1) Respect the privacy of others.
[sudo] password for pi: {"not": "an answer"}
"""

# Ansible calls it as `ssh OPTIONS HOST COMMAND`, and with -O to close a connection that it keeps.
_PROGRAM = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
here = Path(__file__).parent
if "-O" in arguments:
    sys.exit(0)
position = 0
while arguments[position].startswith("-"):
    position += 1 if arguments[position] in {{"-C", "-tt", "-q"}} else 2
refusals = json.loads((here / "refusals").read_text())
if refusals:
    (here / "refusals").write_text(json.dumps(refusals[1:]))
    print(refusals[0], file=sys.stderr)
    sys.exit(255)
noise = (here / "noise").read_text()
for output in (sys.stdout, sys.stderr):
    print(noise, end="", file=output, flush=True)
command = " ".join(arguments[position + 1 :])
os.execv("/bin/sh", ["sh", "-c", command + "; status=$?; echo goodbye; exit $status"])
"""


def install(folder: Path, *, noise: str = "", refusals: Sequence[str] = ()) -> dict[str, str]:
    """Install the program in a folder; return the environment that makes Ansible use it."""
    folder.mkdir(exist_ok=True)
    program = folder / "ssh"
    program.write_text(_PROGRAM)
    program.chmod(0o755)
    (folder / "noise").write_text(noise)
    (folder / "refusals").write_text(json.dumps(list(refusals)))
    return {
        "ANSIBLE_SSH_EXECUTABLE": str(program),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_SSH_RETRIES": "0",
    }
