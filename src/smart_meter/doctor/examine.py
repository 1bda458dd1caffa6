"""Examines this machine: collects every fact and passes it to the function that judges it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from smart_meter.concentrator.health import quiet_limit
from smart_meter.config import Config, ConfigError, load
from smart_meter.doctor import (
    facts,
    image,
    installed,
    kernel,
    led,
    machine,
    network,
    network_facts,
    ping,
    port,
    service,
    site_card,
    trail,
)
from smart_meter.doctor.check import Check
from smart_meter.log.audit.reader import RecordedEvent
from smart_meter.net.listen import is_listening, port_holders
from smart_meter.runtime import state_file
from smart_meter.runtime.reload import RUNNING

_UNIT, _SOCKET = "smart-meter.service", "smart-meter.socket"
_UNIT_FILES = Path("/etc/systemd/system")
_ROOT = Path("/opt/smart-meter")
_USER = "smart-meter"
_DAY = timedelta(days=1)
_NEWEST = 20
"""Events that are part of the result."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of an examination."""

    config: Config | None
    """None if neither the file nor the service's copy of its configuration is valid."""
    refused: ConfigError | None
    """Why the file is not valid; None if it is."""
    checks: list[Check]
    events: list[RecordedEvent]
    """The newest events of the audit trail."""


@dataclass(frozen=True, slots=True)
class _Service:
    """The service, as systemd and its own state file describe it."""

    runtime: Path
    """The directory of its state file."""
    unit: Mapping[str, str] | None
    """The unit's properties; None if systemd does not answer."""
    state: Mapping[str, Any] | None
    """Content of its state file; None if it does not run."""
    by_systemd: bool
    """Whether smart-meter.socket opens its port."""
    now: float
    """When this was observed, in monotonic seconds."""

    @property
    def user(self) -> str:
        """Return the user that it runs as."""
        return (self.unit or {}).get("User") or _USER

    @property
    def pid(self) -> int | None:
        """Return its process; None if it does not run."""
        return int((self.unit or {}).get("MainPID", 0)) or (None if self.state is None else self.state["pid"])

    @property
    def running_for(self) -> float | None:
        """Return for how many seconds it has run; None if it does not run."""
        return None if self.state is None else self.now - self.state["started"]

    def port(self, config: Config) -> int:
        """Return the port that it has; the configured one if it does not run."""
        return config.server.port if self.state is None else int(self.state["port"])


def examine(path: Path, runtime: Path) -> Examined:
    """Run every check. path: the configuration file; runtime: the directory of the service's state file."""
    config, refused = _configuration(path, runtime)
    observed = _observe(runtime)
    checks = [*_service_checks(path, refused, observed)]
    if config is not None:
        checks += _port_checks(config, observed)
        checks += _network_checks(config, observed)
        checks += _data_checks(config, observed)
        checks += _trail_checks(config, observed)
    checks += _machine_checks(path, config)
    path_of_events = "" if config is None else config.events.path
    newest = facts.newest_events(path_of_events, _NEWEST) if path_of_events else []
    return Examined(config, refused, checks, newest)


def _configuration(path: Path, runtime: Path) -> tuple[Config | None, ConfigError | None]:
    """Return the configuration to judge the Pi by, and why the file is not valid.

    If the file is not valid, the configuration is the one that the service runs with.
    """
    try:
        return load(path), None
    except ConfigError as error:
        refused = error
    # Only a regular file: root runs this, too, and the folder is the service's.
    if facts.content(runtime / RUNNING, follow=False) is None:
        return None, refused
    try:
        return load(runtime / RUNNING), refused
    except ConfigError:
        return None, refused


def _observe(runtime: Path) -> _Service:
    now = time.monotonic()
    state = state_file.read(runtime)
    alive = facts.alive(state, now, service.FRESH_STATE)
    return _Service(runtime, facts.unit(_UNIT), state if alive else None, facts.is_active(_SOCKET), now)


def _service_checks(path: Path, refused: ConfigError | None, observed: _Service) -> Iterator[Check]:
    yield from service.judge_unit(
        observed.unit,
        written=facts.content(_UNIT_FILES / _UNIT),
        started=facts.content(observed.runtime / _UNIT, follow=False),
    )
    yield service.judge_configuration(
        str(path),
        [] if refused is None else [str(problem) for problem in refused.problems],
        readable=facts.is_readable(path),
        disk=facts.content(path),
        running=facts.content(observed.runtime / RUNNING, follow=False),
        alive=observed.state is not None,
    )
    current = facts.link(_ROOT / "current")
    damage = "" if current is None else installed.damage(_ROOT / "current")
    yield service.judge_release(current, facts.link(observed.runtime / "release"), damage)


def _port_checks(config: Config, observed: _Service) -> Iterator[Check]:
    number = observed.port(config)
    yield port.judge_port(
        number,
        listening=is_listening(number),
        holders=port_holders(number),
        service=observed.pid,
        by_systemd=observed.by_systemd,
    )
    yield port.judge_permission(
        number,
        user=observed.user,
        by_systemd=observed.by_systemd,
        unprivileged=facts.unprivileged_port(),
        authbind=facts.has_authbind(),
        file=facts.port_file(number),
    )


def _network_checks(config: Config, observed: _Service) -> Iterator[Check]:
    interfaces = facts.interfaces()
    devices = network_facts.network_devices()
    others = network_facts.other_hosts([(zone.interface, str(zone.address)) for zone in config.zones])
    for zone in config.zones:
        yield network.judge_zone(zone, interfaces)
        yield network.judge_profile(zone, devices, network_facts.own_profile(zone.name))
        yield network.judge_address(zone, others)
    if country := network_facts.wanted_country():
        yield network.judge_country(country, network_facts.country(), network_facts.country_of_command_line())
    yield from network.judge_kernel(kernel.examine([zone.interface for zone in config.zones]))
    yield from network.judge_firewall(
        config.zones, observed.port(config), facts.firewall(), installed=facts.has_firewall()
    )
    yield ping.judge_ping(network_facts.ping_rules())


def _data_checks(config: Config, observed: _Service) -> Iterator[Check]:
    """Judge who writes and reads, the meters, and the history."""
    limit = quiet_limit(config)
    for zone in config.zones:
        yield service.judge_peer(zone, observed.state, observed.now, limit)
    host, number = facts.host_for(config), observed.port(config)
    for meter in config.meters:
        writers = service.failed_writers(observed.state, observed.now, meter=meter.name)
        yield service.judge_meter(meter, facts.answer(host, number, meter), observed.running_for, writers)
    yield from service.judge_starts(config.meters, observed.state)
    file = facts.history_file(config.history.path) if config.history.path else None
    reported = None if observed.state is None else observed.state.get("history")
    yield service.judge_history(config.history, file, reported, observed.user)


def _trail_checks(config: Config, observed: _Service) -> Iterator[Check]:
    """Judge the audit trail, and what it has recorded."""
    path = config.events.path
    file = facts.history_file(path) if path else None
    reported = None if observed.state is None else observed.state.get("events")
    yield trail.judge_trail(config.events, file, reported, observed.user)
    if path:
        yield from trail.judge_day(facts.events_since(path, _DAY))


def _machine_checks(path: Path, config: Config | None) -> Iterator[Check]:
    yield machine.judge_clock(
        time.time(), synchronised=facts.is_synchronised(), not_before=facts.installed_at(path)
    )
    for disk in facts.disks(config):
        yield machine.judge_disk(disk)
    yield machine.judge_journal(facts.journal())
    yield machine.judge_boot_partition(facts.passphrases())
    if image.is_image():
        yield image.judge_state(image.report())
    if (written := site_card.judge(site_card.collect())) is not None:
        yield written
    if (light := led.collect()) is not None:
        yield led.judge(light, running=facts.is_active(led.UNIT))
    card, uptime = facts.card(), facts.uptime()
    yield machine.judge_card(card, uptime)
    yield machine.judge_life(card, uptime)
    yield machine.judge_restart(facts.restart_due())
    yield machine.judge_temperature(facts.temperature())
    yield machine.judge_power(facts.throttled())
