"""The configuration: a TOML file becomes a frozen, typed Config, or a ConfigError with all that is wrong.

Everything has a default: an empty file gives one PV meter between the field and the control zone.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path

from smart_meter.register_map import PV_MAP, DataType, Measurement, RegisterMap
from smart_meter.toml_table import Problem, Table, parse_toml, read_toml, show

MAX_UNIT_ID = 247  # Modbus over Serial Line V1.02, 2.2: 1 to 247 address one device each.
MAX_REGISTER = 0xFFFF  # Application Protocol V1.1b3, 4.4
LOOPBACK = IPv4Network("127.0.0.0/8")

# A journal line is cut at blanks, "|" and the brackets of its tag, so names must not forge any of them.
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_LABEL = re.compile(r"[^\s\[\]|](?:[^\[\]|]{0,30}[^\s\[\]|])?")
_UNIT = re.compile(r"[^\s\[\]|=]{0,16}")
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_IDENTIFIER_HINT = "1 to 32 letters, digits, '_', '.' or '-', a letter first"
_LABEL_HINT = "1 to 32 printable characters without '[', ']' or '|', no blank at either end"
_UNIT_HINT = "at most 16 printable characters without blanks, '[', ']', '|' or '='"
_ANY_TEXT = re.compile(r".*")


class Access(enum.Enum):
    """What the clients of a zone may do."""

    READ = "read"
    READ_WRITE = "read-write"


class LogFormat(enum.Enum):
    """How the journal's lines are written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens."""

    host: str = "0.0.0.0"  # noqa: S104 - both zones reach the one port; the zones decide who is let in.
    port: int = 502


@dataclass(frozen=True, slots=True)
class JournalConfig:
    """What the service prints; `statistics_interval` is in seconds, 0 for a line at stop alone."""

    format: LogFormat = LogFormat.TEXT
    statistics_interval: float = 60


@dataclass(frozen=True, slots=True)
class ZoneConfig:
    """A network, this Pi's own address in it, and what its clients may do."""

    name: str
    peer: str
    medium: str
    interface: str
    address: IPv4Address
    network: IPv4Network
    access: Access


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One unit identifier and its register map."""

    name: str
    unit_id: int
    map: RegisterMap


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


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the service needs to know."""

    name: str = "RPI#1"
    server: ServerConfig = ServerConfig()
    journal: JournalConfig = JournalConfig()
    zones: tuple[ZoneConfig, ...] = (FIELD_ZONE, CONTROL_ZONE)
    meters: tuple[MeterConfig, ...] = (MeterConfig("pv", 1, PV_MAP),)


class ConfigError(Exception):
    """A refused configuration; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def load(path: Path | str) -> Config:
    """Return the configuration in a file; raises ConfigError with every problem at once."""
    problems: list[Problem] = []
    text = read_toml(Path(path), problems)
    if text is None:
        raise ConfigError(problems)
    return loads(text, str(path))


def loads(text: str, source: str) -> Config:
    """Return the configuration in a text; `source` names it in the problems. Raises ConfigError."""
    problems: list[Problem] = []
    data = parse_toml(text, source, problems)
    if data is None:
        raise ConfigError(problems)
    root = Table(source, "", data, problems)
    name = root.text("name", "RPI#1", _LABEL, _LABEL_HINT)
    server = _read_server(root.table("server"))
    journal = _read_journal(root.table("journal"))
    zones = _read_zones(root)
    meters = _read_meters(root)
    root.close()
    if problems or name is None or server is None or journal is None:
        raise ConfigError(problems)
    return Config(name, server, journal, zones, meters)


def _read_server(table: Table) -> ServerConfig | None:
    hint = "an address of this machine, or 0.0.0.0 for all of them"
    host = table.text("host", ServerConfig().host, _ANY_TEXT, hint)
    port = table.integer("port", ServerConfig().port, 1, 65535)
    table.close()
    if host is not None:
        try:
            address = ip_address(host)
        except ValueError:
            table.problem("host", f"{show(host)} is no IP address; give {hint}")
            return None
        if address.is_multicast or address == IPv4Address("255.255.255.255"):
            table.problem("host", f"{show(host)} is no host's address; give {hint}")
    return ServerConfig(host, port) if host is not None and port is not None else None


def _read_journal(table: Table) -> JournalConfig | None:
    default = JournalConfig()
    log_format = table.choice("format", default.format.value, [f.value for f in LogFormat])
    interval: float | None = 0
    # 0 switches the line off, so it is no part of the range.
    if table.data.get("statistics_interval", default.statistics_interval) != 0:
        hint = "seconds from 0.1 to 86400, or 0 for a line at stop alone"
        interval = table.number("statistics_interval", default.statistics_interval, 0.1, 86400, hint)
    else:
        table.number("statistics_interval", 0, 0, 0, "seconds")
    table.close()
    return JournalConfig(LogFormat(log_format), interval) if log_format and interval is not None else None


def _read_zones(root: Table) -> tuple[ZoneConfig, ...]:
    before = len(root.problems)
    tables = root.tables("zones")
    if tables is None:
        return Config().zones
    zones = [_read_zone(table) for table in tables]
    _check_unique(tables, "name", fold=False)
    _check_unique(tables, "peer", fold=True)
    for index, zone in enumerate(zones):
        if zone is None:
            continue
        for earlier_table, earlier in zip(tables[:index], zones[:index], strict=True):
            if earlier is None:
                continue
            if zone.address == earlier.address:
                taken = f"{zone.address} is already the address in {earlier_table.path} ({earlier.name})"
                tables[index].problem("address", f"{taken}; give each zone its own")
            if zone.network.overlaps(earlier.network):
                shared = f"{zone.network} overlaps {earlier.network} of {earlier_table.path} ({earlier.name})"
                tables[index].problem("network", f"{shared}; a client's network must decide for one zone")
    writable = any(zone is not None and zone.access is Access.READ_WRITE for zone in zones)
    if not writable and len(root.problems) == before:
        root.problem("zones", 'no zone may write, so no value would arrive; give one access = "read-write"')
    return tuple(zone for zone in zones if zone is not None)


def _read_zone(table: Table) -> ZoneConfig | None:
    name = table.text("name", None, _IDENTIFIER, _IDENTIFIER_HINT)
    peer = table.text("peer", None, _LABEL, _LABEL_HINT)
    if peer is not None and peer.upper() == "LOCALHOST":
        table.problem("peer", f"{show(peer)} stands for this machine's own programs; give another name")
    medium = table.text("medium", "Ethernet", _LABEL, _LABEL_HINT)
    interface = table.text(
        "interface", None, _INTERFACE, 'an interface of this Pi, such as "wlan0" or "eth0"'
    )
    access = table.choice("access", Access.READ.value, [a.value for a in Access])
    network = _read_network(table)
    address = _read_address(table, network)
    table.close()
    if not (name and peer and medium and interface and access and address and network):
        return None
    return ZoneConfig(name, peer, medium, interface, address, network, Access(access))


def _read_network(table: Table) -> IPv4Network | None:
    hint = 'an IPv4 network, such as "192.168.1.0/24"'
    text = table.text("network", None, _ANY_TEXT, hint)
    if text is None:
        return None
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        table.problem("network", f"{show(text)} is no IPv4 network; give {hint}")
        return None
    wrong = ""
    if "/" not in text or network.prefixlen == 32:
        wrong = "is a single address; give the network with its prefix length, such as 192.168.1.0/24"
    elif IPv4Address(text.partition("/")[0]) != network.network_address:
        wrong = f"has host bits set; give {show(str(network))}"
    elif network.overlaps(LOOPBACK):
        wrong = f"overlaps {LOOPBACK}, this machine's own loopback; give the zone's own network"
    elif network.network_address.is_multicast or network.overlaps(IPv4Network("240.0.0.0/4")):
        wrong = f"holds no hosts' addresses; give {hint}"
    if wrong:
        table.problem("network", f"{show(text)} {wrong}")
        return None
    return network


def _read_address(table: Table, network: IPv4Network | None) -> IPv4Address | None:
    hint = 'this Pi\'s own IPv4 address in the zone, such as "192.168.1.100"'
    text = table.text("address", None, _ANY_TEXT, hint)
    if text is None:
        return None
    try:
        address = IPv4Address(text)
    except ValueError:
        table.problem("address", f"{show(text)} is no IPv4 address; give {hint}, without a prefix length")
        return None
    if network is None:
        return address
    wrong = ""
    if address not in network:
        wrong = f"is not in the zone's network {network}; give an address within it"
    elif network.prefixlen < 31 and address == network.network_address:
        wrong = f"is the network's own address in {network}; give a host's"
    elif network.prefixlen < 31 and address == network.broadcast_address:
        wrong = f"is the broadcast address of {network}; give a host's"
    if wrong:
        table.problem("address", f"{address} {wrong}")
        return None
    return address


def _read_meters(root: Table) -> tuple[MeterConfig, ...]:
    tables = root.tables("meters")
    if tables is None:
        return Config().meters
    meters = [_read_meter(table) for table in tables]
    _check_unique(tables, "name", fold=True)
    seen: dict[int, str] = {}
    for table in tables:
        unit_id = table.data.get("unit_id")
        if type(unit_id) is not int:
            continue
        if unit_id in seen:
            taken = f"{unit_id} is already the unit identifier of meter {seen[unit_id]}"
            table.problem("unit_id", f"{taken}; give each meter its own (1 to {MAX_UNIT_ID})")
        seen.setdefault(unit_id, show(table.data.get("name", table.path)))
    return tuple(meter for meter in meters if meter is not None)


def _read_meter(table: Table) -> MeterConfig | None:
    name = table.text("name", None, _IDENTIFIER, _IDENTIFIER_HINT)
    unit_id = table.integer("unit_id", None, 1, MAX_UNIT_ID, f"a unit identifier from 1 to {MAX_UNIT_ID}")
    tables = table.tables("measurements")
    table.close()
    measurements = PV_MAP.measurements if tables is None else _read_measurements(tables)
    return MeterConfig(name, unit_id, RegisterMap(measurements)) if name and unit_id else None


def _read_measurements(tables: list[Table]) -> tuple[Measurement, ...]:
    measurements = [_read_measurement(table) for table in tables]
    _check_unique(tables, "name", fold=False)
    placed: list[tuple[Measurement, Table]] = []
    timestamp: Table | None = None
    for table, measurement in zip(tables, measurements, strict=True):
        if measurement is None:
            continue
        for earlier, earlier_table in placed:
            if measurement.address < earlier.end and earlier.address < measurement.end:
                shared = f"{_registers(measurement)} overlaps {_registers(earlier)} of {earlier_table.path}"
                table.problem("address", f"{shared} ({earlier.name}); give each measurement its own")
        placed.append((measurement, table))
        if measurement.type is DataType.TIMESTAMP:
            if timestamp is not None:
                first = f"{timestamp.path} is the meter's timestamp already"
                table.problem("type", f"{first}; a meter has one at most")
            timestamp = timestamp or table
    return tuple(measurement for measurement, _ in placed)


def _read_measurement(table: Table) -> Measurement | None:
    name = table.text("name", None, _IDENTIFIER, _IDENTIFIER_HINT)
    address = table.integer("address", None, 0, MAX_REGISTER, f"a register from 0 to {MAX_REGISTER}")
    kind = table.choice("type", DataType.UINT16.value, [t.value for t in DataType])
    scale = table.number(
        "scale", 1, 1e-9, 1e9, "a number over 0, at most 1e9: stored integer = value x scale"
    )
    unit = table.text(
        "unit", "", _UNIT, "at most 16 printable characters without blanks, '[', ']', '|' or '='"
    )
    decimals = table.integer("decimals", 1, 0, 6)
    table.close()
    if name is None or address is None or kind is None or scale is None or unit is None or decimals is None:
        return None
    measurement = Measurement(name, address, DataType(kind), scale, unit, decimals)
    if measurement.end > MAX_REGISTER + 1:
        last = MAX_REGISTER + 1 - measurement.width
        message = f"{address} leaves no room for {measurement.width} registers; give at most {last}"
        table.problem("address", message)
        return None
    if measurement.type is DataType.TIMESTAMP and scale != 1:
        table.problem("scale", f"{show(scale)} for a timestamp; Unix seconds have scale 1, leave the key out")
    return measurement


def _registers(measurement: Measurement) -> str:
    if measurement.width == 1:
        return f"register {measurement.address}"
    return f"registers {measurement.address} to {measurement.end - 1}"


def _check_unique(tables: list[Table], key: str, *, fold: bool) -> None:
    """Note every table whose string under a key was there before; `fold`: letters' case does not count."""
    seen: dict[str, Table] = {}
    for table in tables:
        value = table.data.get(key)
        if not isinstance(value, str):
            continue
        comparable = value.upper() if fold else value
        if comparable in seen:
            table.problem(key, f"{show(value)} is already used in {seen[comparable].path}; give each its own")
        seen.setdefault(comparable, table)
