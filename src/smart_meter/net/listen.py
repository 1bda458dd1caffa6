"""Binds the port, and explains what to do if that fails."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from smart_meter.net.server import BACKLOG

TRIAL_PORT = 1502
FIRST_INHERITED = 3
"""The number of the first descriptor that systemd hands over: SD_LISTEN_FDS_START of sd_listen_fds(3)."""

_LISTEN_STATE = "0A"  # include/net/tcp_states.h: TCP_LISTEN is 10
_MAX_NAME = 80


class ListenError(Exception):
    """The port is not available; the text explains why and how to fix it."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this machine. Raises ListenError.

    Plain bind(2) on purpose: that is the call that authbind replaces.
    """
    v6 = isinstance(ip_address(host), IPv6Address)
    listener = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without it, the last run's connections in TIME-WAIT would keep the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(explain(error, host, port)) from error
    listener.setblocking(False)
    return listener


def inherited(environment: Mapping[str, str], pid: int, first: int = FIRST_INHERITED) -> socket.socket | None:
    """Return the listening socket that systemd handed over; None if there is none. See sd_listen_fds(3).

    The environment is only read. Raises ListenError, and leaves the descriptors open, unless exactly one
    listening TCP socket was handed over.
    """
    # What was meant for another process, such as the one that started this one, is not ours.
    if environment.get("LISTEN_PID") != str(pid):
        return None
    count = environment.get("LISTEN_FDS", "")
    if not count.isascii() or not count.isdigit():
        raise ListenError(_handed_over(f"LISTEN_FDS={count!r}, which is not a number"))
    if int(count) == 0:
        return None
    if int(count) > 1:
        raise ListenError(_handed_over(f"{int(count)} sockets where one is expected"))
    try:
        handed = socket.socket(fileno=first)
    except OSError as error:
        raise ListenError(_handed_over(f"descriptor {first}, which is not a socket")) from error
    wrong = _why_no_listener(handed)
    if wrong:
        handed.detach()
        raise ListenError(_handed_over(wrong))
    handed.set_inheritable(False)
    handed.setblocking(False)
    return handed


def _why_no_listener(handed: socket.socket) -> str:
    """Return what a socket is if it is not a listening TCP socket; else an empty text."""
    if handed.family not in (socket.AF_INET, socket.AF_INET6):
        return f"a socket of the family {_word(handed.family)}"
    if handed.type != socket.SOCK_STREAM or handed.proto != socket.IPPROTO_TCP:
        return f"a socket of the type {_word(handed.type)}, protocol {handed.proto}, which is not TCP"
    if not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "a TCP socket that does not listen"
    return ""


def _word(constant: int) -> str:
    return getattr(constant, "name", str(int(constant)))


def _handed_over(what: str) -> str:
    return (
        f"systemd handed over {what}. smart-meter.socket needs one ListenStream=HOST:PORT and Accept=no; "
        f"`systemctl cat smart-meter.socket` shows what it has."
    )


def explain(error: OSError, host: str, port: int) -> str:
    """Return why the port can't be bound and how to fix it, in one paragraph."""
    if error.errno == errno.EADDRINUSE:
        holders = port_holders(port)
        if holders:
            return (
                f"port {port} is in use by {' and '.join(holders)}. Stop that program "
                f"(a service with `sudo systemctl stop NAME`), or give another port with --port."
            )
        return (
            f"port {port} is in use by a program that this user may not see. "
            f"`sudo ss -ltnp 'sport = :{port}'` names it; stop it, or give another port with --port."
        )
    if error.errno in (errno.EACCES, errno.EPERM) and port < 1024:
        user = _user()
        return (
            f"user {user} may not bind port {port}: ports below 1024 need permission, which authbind gives: "
            f"`sudo apt-get install authbind && sudo install -o {user} -m 0500 /dev/null "
            f"/etc/authbind/byport/{port}`, then start with `authbind --deep smart-meter run`. "
            f"To just try it out, `smart-meter run --trial` takes port {TRIAL_PORT}."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"no address {host} on this machine. `ip -br addr` shows the addresses there are; "
            f"give one of them with --host, or 0.0.0.0 for all."
        )
    return f"can't listen on {host}:{port}: {error.strerror or error}."


def port_holders(port: int, proc: Path = Path("/proc")) -> list[str]:
    """Return `NAME (process PID)` of each process that listens on a TCP port that this user may see."""
    inodes = _listening(port, proc)
    if not inodes:
        return []
    processes = sorted((int(entry.name), entry) for entry in proc.iterdir() if entry.name.isdigit())
    return [f"{_name(process)} (process {pid})" for pid, process in processes if _holds(process, inodes)]


def is_listening(port: int, proc: Path = Path("/proc")) -> bool:
    """Whether any process listens on a TCP port, seen or not."""
    return bool(_listening(port, proc))


def _listening(port: int, proc: Path) -> set[str]:
    return {
        f"socket:[{fields[9]}]"
        for table in ("tcp", "tcp6")
        # Not /proc/net, which the service's sandbox hides (ProcSubset=pid).
        for fields in _socket_table(proc / "self" / "net" / table)
        if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port
    }


def _socket_table(path: Path) -> list[list[str]]:
    try:
        rows = path.read_text().splitlines()[1:]
    except OSError:
        return []
    return [fields for fields in map(str.split, rows) if len(fields) > 9]


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return False
    for link in links:
        try:
            if str(link.readlink()) in inodes:
                return True
        except OSError:
            continue
    return False


def _name(process: Path) -> str:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        name = (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a program that has just ended"
    if name.startswith("python") and len(arguments) > 1:
        # The interpreter's name would not identify the program.
        name = b" ".join(arguments).decode(errors="replace").strip()
    # The user who runs a program chooses its name: no control character of it may reach the terminal.
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= _MAX_NAME else shown[: _MAX_NAME - 1] + "…"


def has_address(address: str) -> bool:
    """Whether this machine has an IPv4 address now. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def _user() -> str:
    # Not by the environment: sudo and systemd leave another user's name there.
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
