"""Judges the service: its unit, configuration, release, meters, peers and history. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smart_meter.concentrator.health import QUIET_SECONDS
from smart_meter.config import HistoryConfig, MeterConfig, ZoneConfig
from smart_meter.doctor.check import AS_ROOT, PROGRAM, PROVISION, Check, bad, ok, size, span, unknown, warning
from smart_meter.registers.status_block import State, Status

FRESH_STATE = 15.0
"""Maximum age of the state file in seconds; the service writes it every 3 s."""
JOURNAL = "journalctl -u smart-meter -n 50"


def judge_unit(
    unit: Mapping[str, str] | None, *, written: bytes | None = None, started: bytes | None = None
) -> list[Check]:
    """Judge the unit.

    unit: its properties from `systemctl show`; None if systemd does not answer. written, started: content of
    the unit file now, and when the service was started; None if not available.
    """
    name = "service"
    if unit is None:
        return [unknown(name, "systemd does not answer", "active")]
    if unit.get("LoadState") != "loaded":
        return [bad(name, "there is no unit smart-meter.service", "active", PROVISION)]
    checks = [_running(unit)]
    enabled = unit.get("UnitFileState", "")
    if enabled == "enabled":
        checks.append(ok("start at boot", enabled, "enabled"))
    else:
        fix = "sudo systemctl enable smart-meter"
        checks.append(bad("start at boot", enabled or "not known", "enabled", fix))
    checks.append(_unit_file(unit, written, started))
    return checks


def _running(unit: Mapping[str, str]) -> Check:
    state = unit.get("ActiveState", "unknown")
    found = f"{state} ({unit.get('SubState', '?')})"
    if state not in ("active", "reloading"):
        result = unit.get("Result", "success")
        if result != "success":
            found += f", {result}, exit code {unit.get('ExecMainStatus', '?')}"
        return bad(
            "service", found, "active", f"sudo systemctl start smart-meter; {JOURNAL} shows why it stopped"
        )
    restarts = unit.get("NRestarts", "0")
    if restarts not in ("0", ""):
        times = "once" if restarts == "1" else f"{restarts} times"
        fix = f"{JOURNAL} shows why; sudo systemctl restart smart-meter resets the count"
        return warning("service", f"{found}, restarted {times} by itself", "active, no restarts", fix)
    return ok("service", found, "active")


def _unit_file(unit: Mapping[str, str], written: bytes | None, started: bytes | None) -> Check:
    name, expected = "unit file", "as the service was started"
    outdated = unit.get("NeedDaemonReload") == "yes"
    if outdated or (written != started and written is not None and started is not None):
        fix = "sudo systemctl daemon-reload; sudo systemctl restart smart-meter"
        return bad(name, "changed since the service was started", expected, fix)
    if written is None or started is None:
        return unknown(name, "what the service was started with is not known", expected, AS_ROOT)
    return ok(name, expected, expected)


def judge_configuration(
    path: str,
    problems: Sequence[str],
    *,
    readable: bool,
    disk: bytes | None,
    running: bytes | None,
    alive: bool,
) -> Check:
    """Judge whether the service runs with the configuration on disk.

    problems: why the file is not valid. readable: whether this user may read it. disk, running: content of
    the file and of the service's copy; None if not available. alive: whether the service runs.
    """
    name = "configuration"
    expected = f"{path}, accepted and running"
    if not readable:
        return unknown(name, f"this user may not read {path}", expected, AS_ROOT)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        check = f"{PROGRAM} check-config {path}"
        return bad(name, f"refused: {problems[0]}{more}", expected, f"{check} lists all; {PROVISION}")
    if not alive:
        return unknown(name, "accepted; the service is not running", expected)
    if running is None:
        return unknown(name, "accepted; the service's own configuration is not known", expected)
    if running != disk:
        return bad(
            name,
            "accepted, but the service runs with another one",
            expected,
            "sudo systemctl reload smart-meter",
        )
    return ok(name, "accepted and running", expected)


def judge_release(current: str | None, running: str | None, damage: str | None = "") -> Check:
    """Judge whether the service runs the installed release, and whether its files are intact.

    current, running: targets of the links. damage: what is wrong with the files; None if not known.
    """
    name = "release"
    if current is None:
        return unknown(name, "not installed under /opt/smart-meter", "the installed one")
    installed = current.rpartition("/")[2]
    if damage:
        return bad(name, f"{installed} is damaged: {damage}", f"{installed}, intact", PROVISION)
    if running is None:
        return unknown(name, f"{installed} is installed; which one runs is not known", installed)
    runs = running.rpartition("/")[2]
    if runs != installed:
        return bad(name, f"{runs} is running", installed, "sudo systemctl restart smart-meter")
    if damage is None:
        return unknown(name, f"{installed}; it has no recorded hashes to compare its files with", installed)
    return ok(name, installed, installed)


@dataclass(frozen=True, slots=True)
class Answer:
    """A meter's reply to a read of its status block."""

    status: Status | None
    reason: str = ""
    """Why there is no status."""


def judge_meter(meter: MeterConfig, answer: Answer, running_for: float | None, writers: str = "") -> Check:
    """Judge a meter by its status block. running_for: the service's uptime in seconds; None if not known.

    writers: from `failed_writers`, for a meter without samples.
    """
    name = f"meter {meter.name}, unit {meter.unit_id}"
    limit = meter.stale_after
    expected = f"a sample within {span(limit)}" if limit else "samples"
    status = answer.status
    if status is None:
        return bad(
            name, f"no answer: {answer.reason}", expected, f"sudo systemctl restart smart-meter; {JOURNAL}"
        )
    if status.fingerprint != meter.map.fingerprint:
        return bad(
            name,
            f"register map {status.fingerprint}",
            f"register map {meter.map.fingerprint}, as in the file",
            "sudo systemctl reload smart-meter",
        )
    age = "" if status.age is None else f", last sample {span(status.age)} ago"
    count = f", {status.samples} since the start"
    state = (
        State(status.state).name.lower() if status.state in State._value2member_map_ else str(status.state)
    )
    found = f"{state}{age}{count}"
    without = f"{found}; {writers}" if writers else found
    fix = f"check the device that writes it: journalctl -fu smart-meter shows each sample ({meter.name})"
    if status.state in (State.WAITING, State.RESTORED):
        if running_for is not None and running_for < max(limit, QUIET_SECONDS):
            return warning(
                name, f"{found}; the service has just started", expected, "wait, then run the doctor again"
            )
        return bad(name, without, expected, fix)
    if status.state == State.STALE:
        return bad(name, without, expected, fix)
    wrong = [
        measurement.name
        for index, measurement in enumerate(meter.map.measurements)
        if status.out_of_range >> index & 1
    ]
    if wrong:
        look = f"{PROGRAM} read 127.0.0.1 --config /etc/smart-meter/config.toml --unit {meter.unit_id}"
        return warning(name, f"{found}; out of range: {', '.join(wrong)}", f"{expected}, in range", look)
    return ok(name, found, expected)


def judge_starts(meters: Sequence[MeterConfig], state: Mapping[str, Any] | None) -> list[Check]:
    """Return a warning for each meter whose samples are assumed to begin with the map's first register.

    state: content of the state file; None if the service does not run.
    """
    assumed = {} if state is None else state.get("assumed_starts", {})
    return [
        warning(
            f"samples of {meter.name}",
            f"{', '.join(assumed[meter.name])} has no clear pause: its samples are assumed to begin with "
            f"register {meter.map.start}",
            "a known beginning",
            "write the map with one request, or set sample_starts_at",
        )
        for meter in meters
        if assumed.get(meter.name)
    ]


def failed_writers(
    state: Mapping[str, Any] | None, now: float, *, peer: str | None = None, meter: str | None = None
) -> str:
    """Return which clients wrote in vain, and why; the last two. Empty if there is none.

    state: content of the state file. now: monotonic seconds. peer: only clients of this one. meter: only
    those that wrote to it, or to a unit identifier that no meter has.
    """
    found = []
    for client in () if state is None else state.get("clients", ()):
        if peer is not None and client["peer"].upper() != peer.upper():
            continue
        if meter is not None and client["meter"] not in (meter, None):
            continue
        address, last = client["address"], client["last_refused"]
        if client["refused"] and last is not None:
            times = "once" if client["refused"] == 1 else f"{client['refused']} times, last"
            found.append(f"{address} was refused {times} {span(now - last)} ago: {client['reason']}")
        elif client["incomplete"]:
            missing = f": registers {client['missing']} are missing" if client["missing"] else ""
            samples = "sample" if client["incomplete"] == 1 else "samples"
            found.append(f"{address} wrote {client['incomplete']} incomplete {samples}{missing}")
    return "; ".join(found[:2])


def judge_peer(zone: ZoneConfig, state: Mapping[str, Any] | None, now: float, limit: float) -> Check:
    """Judge whether a zone's peer is active: a writer by its samples, a reader by its reads.

    state: content of the state file; None if the service does not run. now: monotonic seconds. limit: how
    many seconds the peer may be silent.
    """
    writes = zone.access.writes
    did, wish = ("heard", "a sample") if writes else ("reading", "a read")
    name = f"{zone.peer} {did}"
    expected = f"{wish} within {span(limit)}"
    if state is None:
        return unknown(name, "the service does not report it", expected, "sudo systemctl status smart-meter")
    peer = state.get("peers", {}).get(zone.peer.upper(), {})
    total = peer.get("received" if writes else "served", 0)
    last = peer.get("last_received" if writes else "last_served")
    running_for = now - state.get("started", now)
    fix = (
        f"check its power and network; ip neighbour show dev {zone.interface} lists the devices there, "
        "journalctl -u smart-meter those that were refused"
    )
    in_vain = failed_writers(state, now, peer=zone.peer) if writes else ""
    why = f"; {in_vain}" if in_vain else ""
    if last is None:
        found = f"never since the service started, {span(running_for)} ago{why}"
        if running_for < limit:
            return warning(name, found, expected, "wait, then run the doctor again")
        return bad(name, found, expected, fix)
    found = f"{span(now - last)} ago, {total} since the start"
    return ok(name, found, expected) if now - last <= limit else bad(name, found + why, expected, fix)


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """The file of the history, or of the audit trail, on disk."""

    folder: bool
    """Whether its folder exists."""
    owner: str | None
    """None: there is no file."""
    bytes: int = 0
    read_only: bool = False
    """Whether its file system is read-only."""
    quarantined: tuple[str, ...] = ()
    """Names of the damaged files beside it."""


def judge_file(
    name: str, path: str, file: HistoryFile | None, reported: Mapping[str, Any] | None, user: str
) -> Check | HistoryFile:
    """Return why a file of the service is not written, or why that is not known; the file if it is written.

    file: None if this user may not see it. reported: its part of the state file. user: the service's user.
    """
    expected = f"recorded in {path}"
    folder = path.rpartition("/")[0] or "/"
    why = f"{JOURNAL} shows why"
    if reported is not None and reported.get("failing"):
        return bad(name, "it is not writable", expected, f"{why}; df -h {folder}")
    if file is None:
        return unknown(name, f"this user may not see {folder}", expected, AS_ROOT)
    if not file.folder:
        return bad(name, f"{folder} does not exist", expected, f"findmnt; {PROVISION}")
    if file.read_only:
        return bad(
            name, "its file system is read-only", expected, "dmesg | tail; replace the card if it is worn out"
        )
    if file.owner is None:
        return bad(name, "there is no file", expected, why)
    if file.owner != user:
        return bad(name, f"its file belongs to {file.owner}", expected, f"sudo chown {user}: {path}*")
    return file


def judge_history(
    config: HistoryConfig, file: HistoryFile | None, reported: Mapping[str, Any] | None, user: str
) -> Check:
    """Judge whether samples are recorded.

    file: None if this user may not see it. reported: the history's part of the state file; None if there is
    none. user: the service's user, who has to own the file.
    """
    name = "history"
    if not config.path:
        return ok(name, "not recorded", "not recorded")
    expected = f"recorded in {config.path}"
    folder = config.path.rpartition("/")[0] or "/"
    judged = judge_file(name, config.path, file, reported, user)
    if isinstance(judged, Check):
        return judged
    found = f"recorded, {size(judged.bytes)}"
    why = f"{JOURNAL} shows why"
    if reported is not None and reported.get("lost"):
        return warning(name, f"{found}; {reported['lost']} samples were lost", expected, why)
    if reported is not None and reported.get("deleted_young"):
        return warning(
            name,
            f"{found}, full: {reported['deleted_young']} rows deleted before {config.max_age_days:g} days",
            expected,
            "raise history.max_size_mib, or lower history.max_age_days",
        )
    if reported is not None and reported.get("spooled") is False:
        return warning(
            name,
            f"{found}, without a spool: a kill of the service loses the samples since the last commit",
            expected,
            f"{why}; df -h /run",
        )
    if judged.quarantined:
        listed = ", ".join(judged.quarantined)
        file_name = f"{folder}/{judged.quarantined[0]}"
        fix = f"{PROGRAM} history --path {file_name} may be able to read it; then remove it"
        return warning(name, f"{found}; damaged and quarantined: {listed}", expected, fix)
    return ok(name, found, expected)
