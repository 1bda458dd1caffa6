"""The configuration's types: frozen, every field with its default."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from smart_meter.config.toml_table import ConfigProblem
from smart_meter.registers.register_map import PV_MAP, RegisterMap


class Access(enum.Enum):
    """What a client may do. A zone has `READ` or `READ_WRITE`, a meter's rule any of them."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    READ_WRITE = "read-write"

    @property
    def reads(self) -> bool:
        """Whether registers may be read."""
        return self in (Access.READ, Access.READ_WRITE)

    @property
    def writes(self) -> bool:
        """Whether registers may be written."""
        return self in (Access.WRITE, Access.READ_WRITE)


class LogFormat(enum.Enum):
    """Format of the log lines."""

    TEXT = "text"
    JSON = "json"


class OnStale(enum.Enum):
    """What readers get from a meter whose last sample is too old, or that never had one."""

    HOLD = "hold"
    """The last values (0 before the first sample), as if nothing had happened."""
    EXCEPTION = "exception"
    """Exception 0B, gateway target device failed to respond."""
    SENTINEL = "sentinel"
    """Each measurement's sentinel."""


class Publish(enum.Enum):
    """When readers see written values."""

    IMMEDIATE = "immediate"
    COMPLETE = "complete"
    """When the sample is complete."""


class OutOfRange(enum.Enum):
    """How a value outside its measurement's minimum and maximum is handled."""

    FLAG = "flag"
    """It is accepted, and flagged in the log, the status block and the history."""
    REFUSE = "refuse"
    """The whole write is refused with exception 03."""


class ServerConfig(NamedTuple):
    """Address of the server and limits of its connections; times in seconds."""

    host: str = "0.0.0.0"  # noqa: S104 - both zones use this port; each client's zone is checked when it connects.
    port: int = 502
    max_connections: int = 1000
    max_connections_per_client: int = 100
    idle_timeout: float = 300
    """0: idle connections are kept for ever."""
    frame_timeout: float = 10
    """For the rest of a request after its first byte."""


class JournalConfig(NamedTuple):
    """What the service logs. statistics_interval: in seconds; 0: only one line, when the service stops."""

    format: LogFormat = LogFormat.TEXT
    statistics_interval: float = 60
    lines_per_second: float = 2
    """Limit for the RX lines and for the TX lines of each peer; one line summarises the rest."""


class HistoryConfig(NamedTuple):
    """Where samples are recorded, and for how long they are kept."""

    path: str = ""
    """The SQLite database; empty: no history."""
    commit_interval: float = 1
    """Seconds; 0: a write is acknowledged only when its sample is on disk."""
    max_age_days: float = 400
    max_size_mib: float = 1024


class ZoneConfig(NamedTuple):
    """A network, this Pi's address in it, and what its clients may do."""

    name: str
    peer: str
    medium: str
    interface: str
    address: IPv4Address
    network: IPv4Network
    access: Access


class AccessRule(NamedTuple):
    """What some or all clients of a zone may do with one meter."""

    zone: str
    clients: tuple[IPv4Network, ...] = ()
    """Within the zone's network; empty: the whole network."""
    access: Access = Access.READ
    functions: frozenset[int] = frozenset()
    """Function codes; empty: all that `access` allows."""


class MeterConfig(NamedTuple):
    """One unit identifier and its register map."""

    name: str
    unit_id: int
    map: RegisterMap
    stale_after: float = 60
    """Seconds; 0: never."""
    on_stale: OnStale = OnStale.HOLD
    publish: Publish = Publish.IMMEDIATE
    out_of_range: OutOfRange = OutOfRange.FLAG
    access: tuple[AccessRule, ...] = ()
    """The first rule that matches a client applies; if none matches, it has no access. Empty: as its zone."""


FIELD_ZONE = ZoneConfig(
    "field",
    "ESP32",
    "WiFi",
    "wlan0",
    IPv4Address("192.168.1.100"),
    IPv4Network("192.168.1.0/24"),
    Access.READ_WRITE,
)
CONTROL_ZONE = ZoneConfig(
    "control",
    "Opta",
    "Ethernet",
    "eth0",
    IPv4Address("192.168.2.100"),
    IPv4Network("192.168.2.0/24"),
    Access.READ,
)


class Config(NamedTuple):
    """The complete configuration of the service."""

    name: str = "RPI#1"
    server: ServerConfig = ServerConfig()
    journal: JournalConfig = JournalConfig()
    history: HistoryConfig = HistoryConfig()
    zones: tuple[ZoneConfig, ...] = (FIELD_ZONE, CONTROL_ZONE)
    meters: tuple[MeterConfig, ...] = (MeterConfig("pv", 1, PV_MAP),)


class ConfigError(Exception):
    """A refused configuration; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
