"""Examines this machine: collects every fact and passes it to the function that judges it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from smart_meter.config import Config, ConfigError, load
from smart_meter.doctor import facts, installed, kernel, machine, network, port, service
from smart_meter.doctor.check import Check
from smart_meter.net.listen import is_listening, port_holders
from smart_meter.runtime import state_file
from smart_meter.runtime.reload import RUNNING

_UNIT, _SOCKET = "smart-meter.service", "smart-meter.socket"
_ROOT = Path("/opt/smart-meter")
_USER = "smart-meter"


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of an examination."""

    config: Config | None
    """None if neither the file nor the service's copy of its configuration is valid."""
    refused: ConfigError | None
    """Why the file is not valid; None if it is."""
    checks: list[Check]


def examine(path: Path, runtime: Path) -> Examined:
    """Run every check. path: the configuration file; runtime: the directory of the service's state file."""
    refused: ConfigError | None = None
    config: Config | None = None
    try:
        config = load(path)
    except ConfigError as error:
        refused = error
        try:
            # Then judge the Pi by the configuration that its service runs with.
            config = load(runtime / RUNNING)
        except ConfigError:
            config = None
    now = time.monotonic()
    state = state_file.read(runtime)
    alive = facts.alive(state, now, service.FRESH_STATE)
    if not alive:
        state = None
    unit = facts.unit(_UNIT)
    user = (unit or {}).get("User") or _USER
    by_systemd = facts.is_active(_SOCKET)
    checks = service.judge_unit(unit)
    checks.append(
        service.judge_configuration(
            str(path),
            [] if refused is None else [str(problem) for problem in refused.problems],
            readable=facts.is_readable(path),
            disk=facts.content(path),
            running=facts.content(runtime / RUNNING),
            alive=alive,
        )
    )
    current = facts.link(_ROOT / "current")
    damage = "" if current is None else installed.damage(_ROOT / "current")
    checks.append(service.judge_release(current, facts.link(runtime / "release"), damage))
    if config is not None:
        number = config.server.port if state is None else int(state["port"])
        holder = int((unit or {}).get("MainPID", 0)) or (None if state is None else int(state["pid"]))
        checks.append(
            port.judge_port(
                number,
                listening=is_listening(number),
                holders=port_holders(number),
                service=holder,
                by_systemd=by_systemd,
            )
        )
        checks.append(
            port.judge_permission(
                number,
                user=user,
                by_systemd=by_systemd,
                unprivileged=facts.unprivileged_port(),
                authbind=facts.has_authbind(),
                file=facts.port_file(number),
            )
        )
        interfaces = facts.interfaces()
        checks += [network.judge_zone(zone, interfaces) for zone in config.zones]
        checks += network.judge_kernel(kernel.examine([zone.interface for zone in config.zones]))
        checks += network.judge_firewall(
            config.zones, number, facts.firewall(), installed=facts.has_firewall()
        )
        limit = service.quiet_limit(config)
        checks += [service.judge_peer(zone, state, now, limit) for zone in config.zones]
        host = facts.host_for(config)
        running_for = None if state is None else now - state["started"]
        checks += [
            service.judge_meter(meter, facts.answer(host, number, meter), running_for)
            for meter in config.meters
        ]
        checks += service.judge_starts(config.meters, state)
        file = facts.history_file(config.history.path) if config.history.path else None
        reported = None if state is None else state.get("history")
        checks.append(service.judge_history(config.history, file, reported, user))
    checks.append(
        machine.judge_clock(
            time.time(), synchronised=facts.is_synchronised(), not_before=facts.installed_at(path)
        )
    )
    checks += [machine.judge_disk(disk) for disk in facts.disks(config)]
    checks.append(machine.judge_journal(facts.journal()))
    checks.append(machine.judge_card(facts.card(), facts.uptime()))
    checks.append(machine.judge_temperature(facts.temperature()))
    checks.append(machine.judge_power(facts.throttled()))
    return Examined(config, refused, checks)
