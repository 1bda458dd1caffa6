"""Judges the service: its unit, its configuration, its meters, its peers, its history. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smart_meter.config import Config, HistoryConfig, MeterConfig, ZoneConfig
from smart_meter.doctor.check import AS_ROOT, PROGRAM, PROVISION, Check, bad, ok, size, span, unknown, warning
from smart_meter.registers.status_block import State, Status

QUIET_SECONDS = 60.0
"""How long a peer may be silent, where no meter says how old its values may be."""
FRESH_STATE = 15.0
"""The service tells its state every 3 s; what is older than this, it has not told."""
_JOURNAL = "journalctl -u smart-meter -n 50"


def judge_unit(unit: Mapping[str, str] | None) -> list[Check]:
    """Judge the unit by what `systemctl show` tells of it; None where there is no systemd to ask."""
    name = "service"
    if unit is None:
        return [unknown(name, "systemd can't be asked", "active")]
    if unit.get("LoadState") != "loaded":
        return [bad(name, "no unit smart-meter.service", "active", PROVISION)]
    checks = [_running(unit)]
    enabled = unit.get("UnitFileState", "")
    if enabled == "enabled":
        checks.append(ok("start at boot", enabled, "enabled"))
    else:
        mend = "sudo systemctl enable smart-meter"
        checks.append(bad("start at boot", enabled or "not known", "enabled", mend))
    return checks


def _running(unit: Mapping[str, str]) -> Check:
    state = unit.get("ActiveState", "unknown")
    found = f"{state} ({unit.get('SubState', '?')})"
    if state not in ("active", "reloading"):
        result = unit.get("Result", "success")
        if result != "success":
            found += f", {result}, exit code {unit.get('ExecMainStatus', '?')}"
        return bad(
            "service", found, "active", f"sudo systemctl start smart-meter; {_JOURNAL} says why it ended"
        )
    restarts = unit.get("NRestarts", "0")
    if restarts not in ("0", ""):
        times = "once" if restarts == "1" else f"{restarts} times"
        mend = f"{_JOURNAL} says why; sudo systemctl restart smart-meter counts anew"
        return warning("service", f"{found}, restarted {times} by itself", "active, no restarts", mend)
    return ok("service", found, "active")


def judge_configuration(
    path: str,
    problems: Sequence[str],
    *,
    readable: bool,
    disk: bytes | None,
    running: bytes | None,
    alive: bool,
) -> Check:
    """Judge whether the service runs with what is on the disk.

    problems: what the program refuses in the file. readable: whether this user may read it. disk, running:
    the file, and the copy of what the service took; None where it can't be had. alive: whether it runs.
    """
    name = "configuration"
    expected = f"{path}, accepted and running"
    if not readable:
        return unknown(name, f"{path} is not for this user to read", expected, AS_ROOT)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        check = f"{PROGRAM} check-config {path}"
        return bad(name, f"refused: {problems[0]}{more}", expected, f"{check} lists all; {PROVISION}")
    if not alive:
        return unknown(name, "accepted; the service does not run", expected)
    if running is None:
        return unknown(name, "accepted; what the service runs with can't be seen", expected)
    if running != disk:
        return bad(name, "accepted, written, and not running", expected, "sudo systemctl reload smart-meter")
    return ok(name, "accepted and running", expected)


def judge_release(current: str | None, running: str | None, damage: str | None = "") -> Check:
    """Judge whether the service runs the release that is installed, and whether that is whole.

    current, running: what the links lead to. damage: what is wrong with its files; None: not known.
    """
    name = "release"
    if current is None:
        return unknown(name, "not installed under /opt/smart-meter", "the one that is installed")
    installed = current.rpartition("/")[2]
    if damage:
        return bad(name, f"{installed} is damaged: {damage}", f"{installed}, whole", PROVISION)
    if running is None:
        return unknown(name, f"{installed} is installed; which one runs can't be seen", installed)
    runs = running.rpartition("/")[2]
    if runs != installed:
        return bad(name, f"{runs} runs", installed, "sudo systemctl restart smart-meter")
    if damage is None:
        return unknown(name, f"{installed}; nothing was recorded to compare its files with", installed)
    return ok(name, installed, installed)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a meter answered when its status block was read."""

    status: Status | None
    reason: str = ""
    """Why there is none."""


def judge_meter(meter: MeterConfig, answer: Answer, running_for: float | None) -> Check:
    """Judge a meter by its status block. running_for: seconds since the service started; None: not known."""
    name = f"meter {meter.name}, unit {meter.unit_id}"
    limit = meter.stale_after
    expected = f"a sample within {span(limit)}" if limit else "samples"
    status = answer.status
    if status is None:
        return bad(
            name, f"no answer: {answer.reason}", expected, f"sudo systemctl restart smart-meter; {_JOURNAL}"
        )
    if status.fingerprint != meter.map.fingerprint:
        return bad(
            name,
            f"register map {status.fingerprint}",
            f"register map {meter.map.fingerprint}, as the file has it",
            "sudo systemctl reload smart-meter",
        )
    age = "" if status.age is None else f", last sample {span(status.age)} ago"
    count = f", {status.samples} since the start"
    state = (
        State(status.state).name.lower() if status.state in State._value2member_map_ else str(status.state)
    )
    found = f"{state}{age}{count}"
    mend = f"look at whoever writes it: journalctl -fu smart-meter shows each sample ({meter.name})"
    if status.state in (State.WAITING, State.RESTORED):
        if running_for is not None and running_for < max(limit, QUIET_SECONDS):
            return warning(name, f"{found}; the service has just started", expected, "wait, and look again")
        return bad(name, found, expected, mend)
    if status.state == State.STALE:
        return bad(name, found, expected, mend)
    wrong = [
        measurement.name
        for index, measurement in enumerate(meter.map.measurements)
        if status.out_of_range >> index & 1
    ]
    if wrong:
        look = f"{PROGRAM} read 127.0.0.1 --config /etc/smart-meter/config.toml --unit {meter.unit_id}"
        return warning(name, f"{found}; out of range: {', '.join(wrong)}", f"{expected}, in range", look)
    return ok(name, found, expected)


def quiet_limit(config: Config) -> float:
    """Return how many seconds a peer may be silent: as long as the values of any meter may be old."""
    return max((meter.stale_after for meter in config.meters if meter.stale_after), default=QUIET_SECONDS)


def judge_peer(zone: ZoneConfig, state: Mapping[str, Any] | None, now: float, limit: float) -> Check:
    """Judge whether a zone's peer was heard: a writer by its samples, a reader by its reads.

    state: what the service told last. now: monotonic seconds. limit: seconds that it may be silent.
    """
    writes = zone.access.writes
    did, wish = ("heard", "a sample") if writes else ("reading", "a read")
    name = f"{zone.peer} {did}"
    expected = f"{wish} within {span(limit)}"
    if state is None:
        return unknown(name, "the service does not tell", expected, "sudo systemctl status smart-meter")
    peer = state.get("peers", {}).get(zone.peer.upper(), {})
    total = peer.get("received" if writes else "served", 0)
    last = peer.get("last_received" if writes else "last_served")
    running_for = now - state.get("started", now)
    mend = (
        f"look at its power and its network; ip neighbour show dev {zone.interface} lists who is there, "
        "journalctl -u smart-meter who was refused"
    )
    if last is None:
        found = f"never since the service started, {span(running_for)} ago"
        if running_for < limit:
            return warning(name, found, expected, "wait, and look again")
        return bad(name, found, expected, mend)
    found = f"{span(now - last)} ago, {total} since the start"
    return ok(name, found, expected) if now - last <= limit else bad(name, found, expected, mend)


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """The history's file, as the disk has it."""

    folder: bool
    """Whether its folder is there."""
    owner: str | None
    """None: there is no file."""
    bytes: int = 0
    read_only: bool = False
    """Whether its file system is."""
    set_aside: tuple[str, ...] = ()
    """Damaged files beside it."""


def judge_history(
    config: HistoryConfig, file: HistoryFile | None, told: Mapping[str, Any] | None, user: str
) -> Check:
    """Judge whether samples are kept. file: None where it can't be seen. told: what the service says."""
    name = "history"
    if not config.path:
        return ok(name, "none kept", "none kept")
    expected = f"kept in {config.path}"
    folder = config.path.rpartition("/")[0] or "/"
    why = f"{_JOURNAL} says why"
    if told is not None and told.get("failing"):
        return bad(name, "it can't be written", expected, f"{why}; df -h {folder}")
    if file is None:
        return unknown(name, f"{folder} is not for this user to see", expected, AS_ROOT)
    if not file.folder:
        return bad(name, f"no folder {folder}", expected, f"findmnt; {PROVISION}")
    if file.read_only:
        return bad(name, "its file system is read-only", expected, "dmesg | tail; the card may be worn out")
    if file.owner is None:
        return bad(name, "no file", expected, why)
    if file.owner != user:
        return bad(name, f"its file belongs to {file.owner}", expected, f"sudo chown {user}: {config.path}*")
    found = f"kept, {size(file.bytes)}"
    if told is not None and told.get("lost"):
        return warning(name, f"{found}; {told['lost']} samples were lost", expected, why)
    if file.set_aside:
        listed = ", ".join(file.set_aside)
        mend = f"{PROGRAM} history --path {folder}/{file.set_aside[0]} may read it; remove it then"
        return warning(name, f"{found}; damaged and set aside: {listed}", expected, mend)
    return ok(name, found, expected)
