"""What a configuration holds: frozen, typed, each setting with its kind, its range and its default.

A scalar setting of `ServerConfig`, `JournalConfig`, `HistoryConfig` or `EventsConfig` is one field here, one
default with its comment in roles/concentrator/defaults/main.yml and one line in
templates/etc/smart-meter/config.toml.j2; `make generate` writes the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, NamedTuple

from smart_meter.config.listen_address import listen_fault
from smart_meter.config.names import (
    IDENTIFIER,
    IDENTIFIER_HINT,
    INTERFACE,
    LABEL,
    LABEL_HINT,
)
from smart_meter.config.paths import path_fault
from smart_meter.config.settings import Choice, CustomSetting, Integer, Number, Seconds, Text, choices
from smart_meter.config.toml_table import Problem
from smart_meter.registers.register_map import PV_MAP, RegisterMap

MAX_CONNECTIONS = 8000
"""The appliance's unit limits the service to 8192 descriptors, and it needs some for itself."""
MAX_UNIT_ID = 247  # Modbus over Serial Line V1.02, 2.2: 1 to 247 address one device each.


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
    """The format of the log."""

    TEXT = "text"
    JSON = "json"


class OnStale(enum.Enum):
    """What a reader gets from a meter whose last sample is too old, or that never had one."""

    HOLD = "hold"
    """The last values (0 before the first), as if nothing had happened."""
    EXCEPTION = "exception"
    """Exception 0B, gateway target device failed to respond."""
    SENTINEL = "sentinel"
    """Each measurement's sentinel."""


class Publish(enum.Enum):
    """When readers see the values of a write."""

    IMMEDIATE = "immediate"
    COMPLETE = "complete"
    """Once the sample is complete."""


class Complete(enum.Enum):
    """When a sample that is written in parts is complete."""

    ALL = "all"
    """Once every register of the map came."""
    ANY = "any"
    """With each write: the other values stay as they were."""


class Writers(enum.Enum):
    """How many addresses may write a meter at the same time."""

    ANY = "any"
    ONE = "one"
    """While the values of one are fresh, the writes of others get exception 06."""


class OutOfRange(enum.Enum):
    """What happens to a value outside its measurement's minimum and maximum."""

    FLAG = "flag"
    """It is accepted, and marked in the log, the status block and the history."""
    REFUSE = "refuse"
    """The write gets exception 03 and changes nothing."""


class ServerConfig(NamedTuple):
    """Where the server listens, and the limits of its clients; times in seconds."""

    host: Annotated[
        str,
        Text(
            "The address that the server listens on.",
            "an address of this machine, or 0.0.0.0 for all of them",
            fault=listen_fault,
        ),
    ] = "0.0.0.0"  # noqa: S104 - both zones use the one port; the zones decide who may connect.
    port: Annotated[int, Integer("The TCP port that the server listens on.", 1, 65535)] = 502
    max_connections: Annotated[
        int,
        Integer(
            "Connections in total; above that, one of the address with the most is closed.",
            1,
            MAX_CONNECTIONS,
        ),
    ] = 1000
    max_connections_per_client: Annotated[
        int, Integer("Connections from one client's address.", 1, MAX_CONNECTIONS)
    ] = 100
    idle_timeout: Annotated[
        float,
        Seconds(
            "Seconds after which an idle connection is closed; 0 keeps it open.",
            1,
            604800,
            "to keep idle connections",
        ),
    ] = 300
    frame_timeout: Annotated[
        float,
        Number(
            "Seconds within which a request that has begun must be complete.",
            0.1,
            3600,
            "seconds from 0.1 to 3600",
        ),
    ] = 10


class JournalConfig(NamedTuple):
    """What the service logs."""

    format: Annotated[
        LogFormat,
        choices("The format of the journal's lines: text for people, json for programs.", LogFormat),
    ] = LogFormat.TEXT
    statistics_interval: Annotated[
        float,
        Seconds(
            "Seconds between two statistics lines; 0 writes one only when the service stops.",
            0.1,
            86400,
            "for a line at the stop only",
        ),
    ] = 60
    lines_per_second: Annotated[
        float,
        Number(
            "RX lines per second and peer; one line a minute sums up the rest, and 0 writes only sums. "
            "Of reads, only the first has a line, and the first after a minute of silence.",
            0,
            10000,
            "lines from 0 (only sums) to 10000",
        ),
    ] = 1


class HistoryConfig(NamedTuple):
    """Where samples are kept, and for how long."""

    path: Annotated[
        str,
        Text(
            "The SQLite file in which every sample is kept; an empty string keeps no history.",
            'an absolute path, such as "/var/lib/smart-meter/history.db", or "" for no history',
            fault=path_fault,
        ),
    ] = ""
    commit_interval: Annotated[
        float,
        Seconds(
            "Seconds between two commits; with 0 a write is acknowledged once its sample is on disk.",
            0.01,
            3600,
            "to acknowledge a write once it is on disk",
        ),
    ] = 30
    max_age_days: Annotated[
        float, Number("Days after which a sample is deleted.", 1 / 24, 36500, "days from 0.042 to 36500")
    ] = 400
    max_size_mib: Annotated[
        float,
        Number(
            "The size in MiB above which the oldest samples are deleted.",
            1,
            1048576,
            "MiB from 1 to 1048576",
        ),
    ] = 1024
    max_samples_per_second: Annotated[
        float,
        Number(
            "Samples per second that one address may store of one meter; 0: no limit.",
            0,
            10000,
            "samples from 0 (no limit) to 10000",
        ),
    ] = 10


class EventsConfig(NamedTuple):
    """Where the audit trail is kept, and for how long."""

    path: Annotated[
        str,
        Text(
            "The SQLite file of the audit trail; an empty string keeps none.",
            'an absolute path, such as "/var/lib/smart-meter/events.db", or "" for no audit trail',
            fault=path_fault,
        ),
    ] = ""
    max_size_mib: Annotated[
        float,
        Number(
            "The size in MiB above which the oldest events of the largest kind are deleted.",
            1,
            1024,
            "MiB from 1 to 1024",
        ),
    ] = 64
    max_age_days: Annotated[
        float, Number("Days after which an event is deleted.", 1, 36500, "days from 1 to 36500")
    ] = 400


class ZoneConfig(NamedTuple):
    """A network, this Pi's own address in it, and what its clients may do."""

    name: Annotated[str, Text("The zone's name.", IDENTIFIER_HINT, IDENTIFIER)]
    peer: Annotated[str, Text("The name of the device at the other end.", LABEL_HINT, LABEL)]
    medium: Annotated[str, Text("The medium that connects it.", LABEL_HINT, LABEL)]
    interface: Annotated[
        str,
        Text(
            "The Pi's interface in the zone.", 'an interface of this Pi, such as "wlan0" or "eth0"', INTERFACE
        ),
    ]
    address: Annotated[
        IPv4Address,
        Text(
            "The Pi's own address in the zone.",
            'this Pi\'s own IPv4 address in the zone, such as "192.168.1.100"',
        ),
    ]
    network: Annotated[IPv4Network, Text("The zone's network.", 'an IPv4 network, such as "192.168.1.0/24"')]
    access: Annotated[Access, Choice("What its clients may do.", (Access.READ, Access.READ_WRITE))]


class AccessRule(NamedTuple):
    """What clients of a zone may do with one meter."""

    zone: Annotated[str, Text("A zone's name.", "the name of a zone", IDENTIFIER)]
    clients: Annotated[
        tuple[IPv4Network, ...],
        CustomSetting(
            "Addresses or networks within the zone; without it, the whole zone.",
            'a list of addresses, such as ["192.168.1.50"]',
            "list",
            "str",
        ),
    ] = ()
    access: Annotated[Access, choices("What these clients may do.", Access)] = Access.READ
    functions: Annotated[
        frozenset[int],
        CustomSetting(
            "Function codes; without it, all that the access allows.",
            "a list of function codes",
            "list",
            "int",
        ),
    ] = frozenset()


class MeterConfig(NamedTuple):
    """One unit identifier and its register map."""

    name: Annotated[str, Text("The meter's name.", IDENTIFIER_HINT, IDENTIFIER)]
    unit_id: Annotated[int, Integer("Its unit identifier.", 1, MAX_UNIT_ID, "a unit identifier")]
    map: RegisterMap
    stale_after: Annotated[
        float,
        Seconds(
            "Seconds without a sample after which its values are stale; 0 is never.",
            0.1,
            31536000,
            "for never",
        ),
    ] = 60
    on_stale: Annotated[OnStale, choices("What a reader gets while it is stale.", OnStale)] = OnStale.HOLD
    publish: Annotated[
        Publish, choices("Whether readers see each write at once or only complete samples.", Publish)
    ] = Publish.IMMEDIATE
    out_of_range: Annotated[
        OutOfRange, choices("Whether a value outside its range is flagged or refused.", OutOfRange)
    ] = OutOfRange.FLAG
    complete: Annotated[
        Complete, choices("Whether all registers make a sample, or any write does.", Complete)
    ] = Complete.ALL
    sample_gap: Annotated[
        float,
        Number(
            "Seconds of silence after which a sample that is written in parts is given up.",
            0.05,
            3600,
            "seconds from 0.05 to 3600",
        ),
    ] = 2
    sample_starts_at: Annotated[
        int | None,
        Integer(
            "The register that a sample written in parts begins with; without it, pauses decide.",
            0,
            65535,
            "a register of the map",
            optional=True,
        ),
    ] = None
    writers: Annotated[
        Writers, choices("Whether any address may write, or only one while its values are fresh.", Writers)
    ] = Writers.ANY
    access: tuple[AccessRule, ...] = ()
    """The first rule that matches a client applies; no match: no access. No rules at all: as in its zone."""


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
    """The whole configuration."""

    name: Annotated[str, Text("The device's name in the journal's banner.", LABEL_HINT, LABEL)] = "RPI#1"
    server: ServerConfig = ServerConfig()
    journal: JournalConfig = JournalConfig()
    history: HistoryConfig = HistoryConfig()
    events: EventsConfig = EventsConfig()
    zones: tuple[ZoneConfig, ...] = (FIELD_ZONE, CONTROL_ZONE)
    meters: tuple[MeterConfig, ...] = (MeterConfig("pv", 1, PV_MAP),)


class ConfigError(Exception):
    """A configuration is invalid; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
