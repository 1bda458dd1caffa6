"""Why a Pi was not reached: OpenSSH 9.2's and 10.0's own words, as Ansible passes them on."""

from __future__ import annotations

import pytest
from roles.preflight.rules.unreached import Cause, unreached

BY_ANSIBLE = (
    "",
    "Failed to connect to the host via ssh: ",
    "Task failed: Failed to connect to the host via ssh: ",
    'Data could not be sent to remote host "192.168.2.100". Make sure this host can be reached over ssh: ',
)
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE.
Please contact your system administrator.
Add correct host key in /home/op/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /home/op/.ssh/known_hosts:3
  remove with:
  ssh-keygen -f "/home/op/.ssh/known_hosts" -R "pi-north"
Host key for pi-north has changed and you have requested strict checking.
Host key verification failed."""
UNKNOWN = """\
No ED25519 host key is known for pi-north and you have requested strict checking.
Host key verification failed."""
BANNER = "Authorised use only: Connection refused to all others.\nPermission denied (to you).\n"


@pytest.mark.parametrize("before", BY_ANSIBLE)
@pytest.mark.parametrize(
    "said",
    [
        "ssh: connect to host 192.168.2.100 port 22: Connection timed out",
        "ssh: connect to host 192.168.2.100 port 22: No route to host\r",
        "ssh: connect to host 192.168.2.100 port 22: Connection refused",
        "ssh: connect to host 192.168.2.100 port 22: Network is unreachable",
        "ssh: connect to host 192.168.2.100 port 22: Host is down",
        "ssh: connect to host 192.168.2.100 port 22: Operation timed out",
        "Connection timed out during banner exchange\nConnection to 192.168.2.100 port 22 timed out",
        # By a jump host: the Pi is off, or the jump host is.
        "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\n"
        "Connection closed by UNKNOWN port 65535",
        "ssh: connect to host gate.example port 22: Connection timed out\n"
        "Connection closed by UNKNOWN port 65535",
        # By a program in its place.
        "nc: connect to 192.168.2.100 port 22 (tcp) failed: No route to host\n"
        "kex_exchange_identification: Connection closed by remote host",
        "Timeout, server 192.168.2.100 not responding.",
    ],
)
def test_no_answer_is_off(before: str, said: str) -> None:
    assert unreached(before + said, "pi-north", "pi@192.168.2.100").cause is Cause.OFF


@pytest.mark.parametrize("before", BY_ANSIBLE)
@pytest.mark.parametrize(
    ("said", "reason", "fix"),
    [
        (
            CHANGED,
            "Host key for pi-north has changed and you have requested strict checking.",
            "ssh-keygen -R pi-north",
        ),
        (
            UNKNOWN,
            "No ED25519 host key is known for pi-north and you have requested strict checking.",
            "ssh -o HostKeyAlias=pi-north pi@192.168.2.100",
        ),
        (
            UNKNOWN.replace("pi-north", "gate.example") + "\nConnection closed by UNKNOWN port 65535",
            "No ED25519 host key is known for gate.example and you have requested strict checking.",
            "make its key known: ssh gate.example, compare",
        ),
        ("Host key verification failed.", "Host key verification failed.", "make its key known"),
        (
            BANNER + "pi@192.168.2.100: Permission denied (publickey).",
            "pi@192.168.2.100: Permission denied (publickey).",
            "authorized_keys",
        ),
        (
            "op@gate.example: Permission denied (publickey,password).\n"
            "Connection closed by UNKNOWN port 65535",
            "op@gate.example: Permission denied (publickey,password).",
            "authorized_keys",
        ),
        (
            "Received disconnect from 192.168.2.100 port 22:2: Too many authentication failures\n"
            "Disconnected from 192.168.2.100 port 22",
            "Received disconnect from 192.168.2.100 port 22:2: Too many authentication failures",
            "authorized_keys",
        ),
        (
            "channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n"
            "Connection closed by UNKNOWN port 65535",
            "channel 0: open failed: administratively prohibited: open failed",
            "AllowTcpForwarding",
        ),
        (
            "ssh: Could not resolve hostname pi-nroth.example: Name or service not known",
            "ssh: Could not resolve hostname pi-nroth.example: Name or service not known",
            "ansible_host",
        ),
    ],
)
def test_a_refusal_is_named_with_its_fix(before: str, said: str, reason: str, fix: str) -> None:
    why = unreached(before + said, "pi-north", "pi@192.168.2.100")
    assert (why.cause, why.reason) == (Cause.REFUSED, reason)
    assert fix in why.fix


@pytest.mark.parametrize("said", ["Incorrect sudo password", "Task failed: Missing sudo password"])
def test_a_wrong_password_is_a_refusal(said: str) -> None:
    why = unreached(said, "pi-north", "pi@192.168.2.100")
    assert why.cause is Cause.REFUSED
    assert "ansible_become_password of pi-north" in why.fix


@pytest.mark.parametrize(
    "said",
    [
        "Shared connection to 192.168.2.100 closed.",
        "Timeout (7s) waiting for privilege escalation prompt: ",
        "Failed to connect to the host via ssh: kex_exchange_identification: read: Connection reset by peer",
        BANNER + "Connection closed by 192.168.2.100 port 22",
        "",
    ],
)
def test_what_means_neither_is_broken_and_not_off(said: str) -> None:
    why = unreached(said, "pi-north", "pi@192.168.2.100")
    assert why.cause is Cause.BROKEN
    assert why.reason
    assert why.fix
