"""Why a Pi was not reached: the messages of SSH, sudo and Ansible, and what they mean.

OpenSSH's messages are in English, whatever the controller's language is: it sets no locale for them.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Cause(enum.Enum):
    """The kind of failure."""

    OFF = "off"
    """Nothing answered."""
    REFUSED = "refused"
    """Something answered and refused the connection; it needs a fix."""
    BROKEN = "broken"
    """Neither is known: a connection that was kept open from before may be broken."""


@dataclass(frozen=True, slots=True)
class Unreached:
    """Why a Pi was not reached. reason: the line of the output that shows it."""

    cause: Cause
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.fix}" if self.fix else self.reason


# Ansible's text before the error output of SSH, which has banners as well as reasons.
_PREFIX = re.compile(r"^.* (?:via|over) ssh: ", re.DOTALL)
_NO_ANSWER = (
    r"(?:timed out|No route to host|Connection refused|Host is down|Network is (?:unreachable|down))\.?$"
)
_LOGIN = "{ssh}, compare the fingerprint, and answer yes"
_FORGET = "remove its old key from known_hosts (ssh-keygen -R {whose}; inventory/known_hosts counts, too)"
# The first pattern that matches any line decides; refusals come before the lack of an answer.
_CAUSES = tuple(
    (cause, re.compile(pattern), fix)
    for cause, pattern, fix in (
        (
            Cause.REFUSED,
            r"^Host key for (?P<whose>\S+) has changed",
            "another machine has its address; or, if it was flashed again, " + _FORGET + " and " + _LOGIN,
        ),
        (Cause.REFUSED, r"^No \S+ host key is known for (?P<whose>\S+)", "make its key known: " + _LOGIN),
        (Cause.REFUSED, r"^Host key verification failed", "make its key known: " + _LOGIN),
        (
            Cause.REFUSED,
            r"^\S+: Permission denied \(|: Too many authentication failures",
            "this controller's public key has to be in ~/.ssh/authorized_keys of that user (ssh-copy-id)",
        ),
        (
            Cause.REFUSED,
            r"open failed: administratively prohibited",
            "the jump host has to let it through (AllowTcpForwarding and PermitOpen in its sshd_config)",
        ),
        (
            Cause.REFUSED,
            r"^ssh: Could not resolve hostname",
            "give an address or a name that this machine resolves: ansible_host, preflight_jump_host",
        ),
        (
            Cause.REFUSED,
            r"(?:Incorrect|Missing) \S+ password",
            "ansible_become_password of {name} has to be what sudo asks for on the Pi (make vault)",
        ),
        (
            Cause.BROKEN,
            r"waiting for privilege escalation prompt",
            "sudo on the Pi takes too long; if it waits for a name server: make provision LIMIT={name}",
        ),
        # From SSH itself, from a jump host, or from a ProxyCommand.
        (Cause.OFF, _NO_ANSWER, ""),
        (Cause.OFF, r"Connection timed out during banner exchange|^Timeout, server .* not responding", ""),
    )
)


def unreached(message: str, name: str, login: str) -> Unreached:
    """Interpret the message of a failed connection. name: the Pi's; login: USER@ADDRESS, for the fix."""
    lines = [line.strip() for line in _PREFIX.sub("", message.strip()).splitlines() if line.strip()]
    for cause, pattern, fix in _CAUSES:
        for line in lines:
            if found := pattern.search(line):
                # A Pi's key is known by the Pi's name; any other name is a jump host's.
                whose = found.groupdict().get("whose", name)
                ssh = f"ssh {whose}" if whose != name else f"ssh -o HostKeyAlias={name} {login}"
                return Unreached(cause, line, fix.format(name=name, whose=whose, ssh=ssh))
    reason = lines[-1] if lines else "no connection, and no reason given"
    return Unreached(Cause.BROKEN, reason, f"ssh -v -o HostKeyAlias={name} {login} shows where it ends")
