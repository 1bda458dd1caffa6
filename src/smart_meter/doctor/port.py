"""Judges which process listens on the port, and whether the service may bind it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from smart_meter.doctor.check import AS_ROOT, Check, bad, ok, unknown, warning

_PROCESS = re.compile(r"(.*) \(process (\d+)\)")


def judge_port(
    port: int, *, listening: bool, holders: Sequence[str], service: int | None, by_systemd: bool
) -> Check:
    """Judge which processes listen on the port.

    holders: `NAME (process PID)` for those that this user may see. service: the service's PID, if it runs.
    by_systemd: whether smart-meter.socket is active.
    """
    name = f"port {port}"
    expected = "opened by systemd for the service" if by_systemd else "opened by the service"
    if not listening:
        unit = "smart-meter.socket smart-meter" if by_systemd else "smart-meter"
        return bad(name, "closed: no process listens", expected, f"sudo systemctl start {unit}")
    if not holders:
        return unknown(name, "opened by a process that this user may not see", expected, AS_ROOT)
    ours = {str(service)} | ({"1"} if by_systemd else set())
    others = [match for match in map(_PROCESS.fullmatch, holders) if match and match[2] not in ours]
    if others:
        found = " and ".join(match[0] for match in others)
        numbers = " ".join(match[2] for match in others)
        return bad(
            name,
            f"in use by {found}",
            expected,
            f"sudo systemctl stop NAME if it is a service, otherwise sudo kill {numbers}; "
            "then sudo systemctl restart smart-meter",
        )
    return ok(name, f"opened by {' and '.join(holders)}", expected)


@dataclass(frozen=True, slots=True)
class PortFile:
    """authbind's file for the port."""

    owner: str
    mode: int
    """Permission bits, for example 0o500."""


def judge_permission(
    port: int,
    *,
    user: str,
    by_systemd: bool,
    unprivileged: int | None,
    authbind: bool,
    file: PortFile | None,
) -> Check:
    """Judge whether the service may bind its port.

    unprivileged: the kernel's lowest port that any user may bind; None if not known. authbind: whether it
    is installed. file: /etc/authbind/byport/PORT; None if there is none.
    """
    name = f"permission for port {port}"
    if by_systemd:
        return ok(name, "smart-meter.socket opens it", "smart-meter.socket opens it")
    if port >= (1024 if unprivileged is None else unprivileged):
        return ok(name, "none needed", "none needed")
    expected = f"authbind's file, owner {user}, mode 0500"
    path = f"/etc/authbind/byport/{port}"
    if not authbind:
        return bad(name, "authbind is not installed", expected, "sudo apt-get install authbind")
    if file is None:
        fix = f"sudo install -o {user} -m 0500 /dev/null {path}"
        return bad(name, f"no {path}", expected, fix)
    found = f"owner {file.owner}, mode {file.mode:04o}"
    fix = f"sudo chown {user} {path}; sudo chmod 0500 {path}"
    if file.mode & 0o001:
        return warning(name, f"{found}: every user may bind it", expected, fix)
    if file.owner != user or not file.mode & 0o100:
        return bad(name, found, expected, fix)
    return ok(name, found, expected)
