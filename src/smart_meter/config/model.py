"""What a configuration holds: frozen, typed, each with its default."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from smart_meter.config.toml_table import Problem
from smart_meter.registers.register_map import PV_MAP, RegisterMap


class Access(enum.Enum):
    """What the clients of a zone may do; a zone itself is `READ` or `READ_WRITE`, a meter's rule any."""

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
    """How the journal's lines are written."""

    TEXT = "text"
    JSON = "json"


class OnStale(enum.Enum):
    """What a reader gets of a meter whose last sample is too old, or that never had one."""

    HOLD = "hold"
    """The last values (0 before the first), as if nothing had happened."""
    EXCEPTION = "exception"
    """Exception 0B, gateway target device failed to respond."""
    SENTINEL = "sentinel"
    """Each measurement's sentinel."""


class Publish(enum.Enum):
    """When readers see what is written."""

    IMMEDIATE = "immediate"
    COMPLETE = "complete"
    """Once the sample is whole."""


class OutOfRange(enum.Enum):
    """What becomes of a value outside its measurement's minimum and maximum."""

    FLAG = "flag"
    """It is taken, and marked in the journal, the status block and the history."""
    REFUSE = "refuse"
    """The write gets exception 03, and nothing of it is taken."""


class ServerConfig(NamedTuple):
    """Where the server listens, and what its clients may cost; times in seconds."""

    host: str = "0.0.0.0"  # noqa: S104 - both zones reach the one port; the zones decide who is let in.
    port: int = 502
    max_connections: int = 1000
    max_connections_per_client: int = 100
    idle_timeout: float = 300
    """0: an idle connection is kept for ever."""
    frame_timeout: float = 10
    """For the rest of a request whose beginning has arrived."""


class JournalConfig(NamedTuple):
    """What the service prints; `statistics_interval` is in seconds, 0 for a line at stop alone."""

    format: LogFormat = LogFormat.TEXT
    statistics_interval: float = 60
    lines_per_second: float = 2
    """RX lines and TX lines, each, of each peer; the rest is summed up in one line."""


class HistoryConfig(NamedTuple):
    """Where samples are kept, and for how long."""

    path: str = ""
    """The SQLite database; empty: no history."""
    commit_interval: float = 1
    """Seconds; 0: a write is acknowledged once its sample is on disk."""
    max_age_days: float = 400
    max_size_mib: float = 1024


class ZoneConfig(NamedTuple):
    """A network, this Pi's own address in it, and what its clients may do."""

    name: str
    peer: str
    medium: str
    interface: str
    address: IPv4Address
    network: IPv4Network
    access: Access


class AccessRule(NamedTuple):
    """What clients of a zone may do with one meter."""

    zone: str
    clients: tuple[IPv4Network, ...] = ()
    """Within the zone's network; empty: all of it."""
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
    """The first that fits a client decides; where none does, it may do nothing. Empty: as its zone has it."""


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
    """Everything that the service needs to know."""

    name: str = "RPI#1"
    server: ServerConfig = ServerConfig()
    journal: JournalConfig = JournalConfig()
    history: HistoryConfig = HistoryConfig()
    zones: tuple[ZoneConfig, ...] = (FIELD_ZONE, CONTROL_ZONE)
    meters: tuple[MeterConfig, ...] = (MeterConfig("pv", 1, PV_MAP),)


class ConfigError(Exception):
    """A refused configuration; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
