"""What a configuration may contain, and how every mistake is reported."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_meter.config import Access, Config, ConfigError, LogFormat, load, loads
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP

DOCUMENTED = """
name = "RPI#1"

[server]
host = "0.0.0.0"
port = 502

[journal]
format = "text"
statistics_interval = 60

[[zones]]
name = "field"
peer = "ESP32"
medium = "WiFi"
interface = "wlan0"
address = "192.168.1.100"
network = "192.168.1.0/24"
access = "read-write"

[[zones]]
name = "control"
peer = "Opta"
medium = "Ethernet"
interface = "eth0"
address = "192.168.2.100"
network = "192.168.2.0/24"
access = "read"

[[meters]]
name = "pv"
unit_id = 1
measurements = [
    { name = "P_ac", address = 0, unit = "W", minimum = 0, maximum = 20000 },
    { name = "P_dc", address = 1, unit = "W", minimum = 0, maximum = 20000 },
    { name = "V_dc", address = 2, scale = 10, unit = "V", decimals = 2, minimum = 0, maximum = 1500 },
    { name = "I_dc", address = 3, scale = 100, unit = "A", decimals = 2, minimum = 0, maximum = 200 },
    { name = "G", address = 4, unit = "W/m²", minimum = 0, maximum = 1600 },
    { name = "T_cell", address = 5, scale = 10, unit = "°C", minimum = 0, maximum = 100 },
    { name = "Timestamp", address = 6, type = "timestamp" },
]
"""

FIELD = """
[[zones]]
name = "field"
peer = "ESP32"
interface = "wlan0"
address = "192.168.1.100"
network = "192.168.1.0/24"
access = "read-write"
"""

CONTROL = """
[[zones]]
name = "control"
peer = "Opta"
interface = "eth0"
address = "192.168.2.100"
network = "192.168.2.0/24"
"""


HUGE = "0x" + "f" * 4000


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loads(text, "c.toml")
    return [str(problem) for problem in refused.value.problems]


def problems_if_any(text: str) -> list[str]:
    try:
        loads(text, "c.toml")
    except ConfigError as error:
        return [str(problem) for problem in error.problems] or ["refused without a reason\n"]
    return []


def zone(**changes: str) -> str:
    """The field zone with some lines changed; an empty value leaves the line out."""
    lines = FIELD.strip().splitlines()
    for key, value in changes.items():
        lines = [line for line in lines if not line.startswith(f"{key} =")]
        if value:
            lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def meter(*measurements: str) -> str:
    listed = ", ".join(f"{{ {measurement} }}" for measurement in measurements)
    return f'[[meters]]\nname = "m"\nunit_id = 1\nmeasurements = [{listed}]\n'


def test_an_empty_file_is_the_documented_configuration() -> None:
    assert loads("", "c.toml") == loads(DOCUMENTED, "c.toml") == Config()


def test_the_configuration_can_not_be_changed() -> None:
    config = loads(DOCUMENTED, "c.toml")
    for part, field in (
        (config, "name"),
        (config.server, "port"),
        (config.zones[0], "peer"),
        (config.meters[0], "name"),
    ):
        with pytest.raises(AttributeError):
            setattr(part, field, "changed")


def test_a_zone_by_default_only_reads_and_is_ethernet() -> None:
    control = loads(FIELD + CONTROL, "c.toml").zones[1]
    assert (control.access, control.medium) == (Access.READ, "Ethernet")
    assert (control.address, control.network) == (IPv4Address("192.168.2.100"), IPv4Network("192.168.2.0/24"))


def test_a_meter_without_measurements_has_the_pv_map() -> None:
    config = loads('[[meters]]\nname = "a"\nunit_id = 1\n[[meters]]\nname = "b"\nunit_id = 247\n', "c.toml")
    assert [(m.name, m.unit_id, m.map) for m in config.meters] == [("a", 1, PV_MAP), ("b", 247, PV_MAP)]


def test_a_measurement_needs_only_a_name_and_an_address() -> None:
    measurement = loads(meter('name = "x", address = 65535'), "c.toml").meters[0].map.measurements[0]
    assert (measurement.type, measurement.scale, measurement.unit, measurement.decimals) == (
        DataType.UINT16,
        1,
        "",
        1,
    )


def test_scales_may_be_fractions_and_units_may_be_any_letters() -> None:
    text = meter('name = "x", address = 0, scale = 0.1, unit = "µΩ·m", decimals = 0')
    measurement = loads(text, "c.toml").meters[0].map.measurements[0]
    assert (measurement.scale, measurement.unit, measurement.decimals) == (0.1, "µΩ·m", 0)


def test_a_server_may_listen_on_ipv6_and_log_json_without_statistics() -> None:
    config = loads('[server]\nhost = "::"\n[journal]\nformat = "json"\nstatistics_interval = 0\n', "c.toml")
    assert (config.server.host, config.journal.format, config.journal.statistics_interval) == (
        "::",
        LogFormat.JSON,
        0,
    )


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DOCUMENTED.encode())
    assert load(path) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 1", 'nmae: is an unknown key; did you mean "name"?'),
        (
            "wat = 1",
            "wat: is an unknown key; known here: name, server, journal, history, events, zones, meters",
        ),
        (
            '"a\\nb" = 1',
            '"a\\nb": is an unknown key; known here: name, server, journal, history, events, zones, meters',
        ),
        ("name = 3", "name: 3 is not a string; give 1 to 32 printable characters"),
        ('name = ""', 'name: "" can\'t be used; give 1 to 32 printable characters'),
        (f'name = "{"x" * 33}"', "can't be used; give 1 to 32 printable characters"),
        ('name = "a\\nb"', 'name: "a\\nb" can\'t be used'),
        ('name = "a\\u202eb"', 'name: "a\\u202eb" can\'t be used'),
        ("server = 3", "server: 3 is not a table; write [server]"),
        ("[server]\nport = 0", "server.port: 0 is out of range; give an integer from 1 to 65535"),
        ("[server]\nport = 65536", "server.port: 65536 is out of range; give an integer from 1 to 65535"),
        ("[server]\nport = true", "server.port: true is not an integer; give an integer from 1 to 65535"),
        ('[server]\nport = "502"', 'server.port: "502" is not an integer; give an integer from 1 to 65535'),
        ("[server]\nport = 502.0", "server.port: 502.0 is not an integer; give an integer from 1 to 65535"),
        (
            '[server]\nhost = "pi"',
            'server.host: "pi" is not an IP address; give an address of this machine, or 0.0.0.0',
        ),
        ('[server]\nhost = "224.0.0.1"', 'server.host: "224.0.0.1" is not the address of a host'),
        ('[server]\nhsot = "::"', 'server.hsot: is an unknown key; did you mean "host"?'),
        ('[journal]\nformat = "xml"', 'journal.format: "xml" is unknown; give "text" or "json"'),
        (
            '[journal]\nformat = "JSON"',
            'journal.format: "JSON" is unknown; give "text" or "json"; did you mean "json"?',
        ),
        ("[journal]\nformat = [1]", 'journal.format: [1] is unknown; give "text" or "json"'),
        (
            "[journal]\nstatistics_interval = -1",
            "journal.statistics_interval: -1 is out of range; give seconds from 0.1",
        ),
        ("[journal]\nstatistics_interval = inf", "journal.statistics_interval: inf is out of range"),
        ("[journal]\nstatistics_interval = nan", "journal.statistics_interval: nan is out of range"),
        ("[journal]\nstatistics_interval = false", "journal.statistics_interval: false is not a number"),
        ("zones = []", "zones: is empty; give at least one [[zones]], or leave the key out"),
        ("zones = 3", "zones: 3 is not a list of tables; write [[zones]] above each"),
        ("zones = [3]", "zones[0]: 3 is not a table; write [[zones]]"),
        (CONTROL, 'zones: no zone may write, so no value would arrive; give one access = "read-write"'),
        (zone(name=""), "zones[0].name: is missing; give 1 to 32 letters"),
        (zone(name='"two words"'), 'zones[0].name: "two words" can\'t be used; give 1 to 32 letters'),
        (zone(peer='"E]SP"'), 'zones[0].peer: "E]SP" can\'t be used'),
        (zone(peer='"a | b"'), 'zones[0].peer: "a | b" can\'t be used'),
        (zone(peer='" ESP"'), 'zones[0].peer: " ESP" can\'t be used'),
        (zone(peer='"E\\u001bSP"'), 'zones[0].peer: "E\\u001bSP" can\'t be used'),
        (zone(peer='"localhost"'), 'zones[0].peer: "localhost" stands for this machine\'s own programs'),
        (zone(medium='"Wi\\nFi"'), 'zones[0].medium: "Wi\\nFi" can\'t be used'),
        (
            zone(interface='"wlan0/../x"'),
            'zones[0].interface: "wlan0/../x" can\'t be used; give an interface',
        ),
        (zone(interface='"averyverylonginterface"'), "can't be used; give an interface"),
        (zone(access='"write"'), 'zones[0].access: "write" is unknown; give "read" or "read-write"'),
        (zone(access='"read_write"'), 'did you mean "read-write"?'),
        (
            zone(network='"192.168.1.0"'),
            'zones[0].network: "192.168.1.0" is a single address; give the network with',
        ),
        (zone(network='"192.168.1.100/32"'), 'zones[0].network: "192.168.1.100/32" is a single address'),
        (zone(network='"192.168.1.1/24"'), '"192.168.1.1/24" has host bits set; give "192.168.1.0/24"'),
        (zone(network='"192.168.1.0/33"'), 'zones[0].network: "192.168.1.0/33" is not an IPv4 network'),
        (zone(network='"fd00::/64"'), 'zones[0].network: "fd00::/64" is not an IPv4 network'),
        (zone(network='"0.0.0.0/0"'), "overlaps 127.0.0.0/8, this machine's own loopback"),
        (zone(network='"127.1.0.0/16"'), "overlaps 127.0.0.0/8, this machine's own loopback"),
        (zone(network='"224.0.0.0/8"'), "holds no hosts' addresses"),
        (zone(network='"240.0.0.0/8"'), "holds no hosts' addresses"),
        (zone(address='"192.168.1.300"'), 'zones[0].address: "192.168.1.300" is not an IPv4 address'),
        (
            zone(address='"192.168.1.100/24"'),
            "is not an IPv4 address; give this Pi's own IPv4 address in the zone",
        ),
        (zone(address='"192.168.2.100"'), "192.168.2.100 is not in the zone's network 192.168.1.0/24"),
        (zone(address='"192.168.1.0"'), "192.168.1.0 is the network's own address in 192.168.1.0/24"),
        (zone(address='"192.168.1.255"'), "192.168.1.255 is the broadcast address of 192.168.1.0/24"),
        (zone(acess='"read"'), 'zones[0].acess: is an unknown key; did you mean "access"?'),
        (
            zone() + CONTROL.replace("192.168.2.100", "192.168.1.100").replace("2.0/24", "1.0/24"),
            "zones[1].address: 192.168.1.100 is already the address in zones[0] (field)",
        ),
        (
            zone()
            + CONTROL.replace("192.168.2.100", "192.168.1.130").replace("192.168.2.0/24", "192.168.1.128/25"),
            "zones[1].network: 192.168.1.128/25 overlaps 192.168.1.0/24 of zones[0] (field)",
        ),
        (
            zone() + CONTROL.replace('"control"', '"field"'),
            'zones[1].name: "field" is already used in zones[0]',
        ),
        (zone() + CONTROL.replace('"Opta"', '"esp32"'), 'zones[1].peer: "esp32" is already used in zones[0]'),
        ("meters = []", "meters: is empty; give at least one [[meters]], or leave the key out"),
        ("[[meters]]\nunit_id = 1", "meters[0].name: is missing; give 1 to 32 letters"),
        ('[[meters]]\nname = "m"', "meters[0].unit_id: is missing; give a unit identifier from 1 to 247"),
        (
            '[[meters]]\nname = "m"\nunit_id = 0',
            "meters[0].unit_id: 0 is out of range; give a unit identifier from 1",
        ),
        ('[[meters]]\nname = "m"\nunit_id = 248', "meters[0].unit_id: 248 is out of range"),
        ('[[meters]]\nname = "m"\nunit_id = 1\nmeasurements = []', "meters[0].measurements: is empty"),
        (
            '[[meters]]\nname = "m"\nunit_id = 3\n[[meters]]\nname = "n"\nunit_id = 3',
            'meters[1].unit_id: 3 is already the unit identifier of meter "m"; give each',
        ),
        (
            '[[meters]]\nname = "m"\nunit_id = 1\n[[meters]]\nname = "M"\nunit_id = 2',
            'meters[1].name: "M" is already',
        ),
        (meter("address = 0"), "meters[0].measurements[0].name: is missing"),
        (
            meter('name = "x"'),
            "meters[0].measurements[0].address: is missing; give a register from 0 to 65535",
        ),
        (
            meter('name = "a=b", address = 0'),
            'measurements[0].name: "a=b" can\'t be used; give 1 to 32 letters',
        ),
        (meter('name = "x", address = -1'), "address: -1 is out of range; give a register from 0 to 65535"),
        (meter('name = "x", address = 65536'), "address: 65536 is out of range"),
        (meter(f'name = "x", address = {HUGE}'), "address: an integer of 16000 bits is out of range"),
        (
            meter('name = "t", address = 65535, type = "timestamp"'),
            "meters[0].measurements[0].address: 65535 leaves no room for 2 registers; give at most 65534",
        ),
        (
            meter('name = "x", address = 0, type = "uint61"'),
            'type: "uint61" is unknown; give "int16", "uint16", "int32", "uint32", "float32" or "timestamp"',
        ),
        (meter('name = "x", address = 0, scale = 0'), "scale: 0 is out of range; give a number over 0"),
        (meter('name = "x", address = 0, scale = -10'), "scale: -10 is out of range"),
        (meter('name = "x", address = 0, scale = inf'), "scale: inf is out of range"),
        (meter('name = "x", address = 0, scale = nan'), "scale: nan is out of range"),
        (meter('name = "x", address = 0, scale = 1e300'), "scale: 1e+300 is out of range"),
        (
            meter(f'name = "x", address = 0, scale = {HUGE}'),
            "scale: an integer of 16000 bits is out of range",
        ),
        (meter('name = "x", address = 0, scale = true'), "scale: true is not a number"),
        (meter('name = "x", address = 0, unit = "a\\nb"'), 'unit: "a\\nb" can\'t be used'),
        (meter('name = "x", address = 0, unit = "a b"'), 'unit: "a b" can\'t be used'),
        (
            meter('name = "x", address = 0, decimals = 7'),
            "decimals: 7 is out of range; give an integer from 0 to 6",
        ),
        (meter('name = "x", address = 0, decimals = -1'), "decimals: -1 is out of range"),
        (
            meter('name = "t", address = 0, type = "timestamp", scale = 10'),
            "scale: 10 for a timestamp; Unix seconds",
        ),
        (
            meter('name = "t", address = 0, type = "timestamp"', 'name = "x", address = 1'),
            "meters[0].measurements[1].address: register 1 overlaps registers 0 to 1 of "
            "meters[0].measurements[0] (t); give each measurement its own",
        ),
        (
            meter(
                'name = "t", address = 0, type = "timestamp"', 'name = "u", address = 2, type = "timestamp"'
            ),
            "measurements[1].type: meters[0].measurements[0] is the meter's timestamp already",
        ),
        (
            meter('name = "x", address = 0', 'name = "x", address = 1'),
            'meters[0].measurements[1].name: "x" is already used in meters[0].measurements[0]',
        ),
    ],
)
def test_each_mistake_is_reported_once_with_its_key_and_its_fix(text: str, message: str) -> None:
    found = problems(text)
    assert [problem.startswith("c.toml: ") and message in problem for problem in found].count(True) == 1, (
        found
    )
    # Two zones with the same address have overlapping networks, too.
    assert len(found) == (2 if "already the address" in message else 1), found


def test_all_mistakes_are_reported_at_once() -> None:
    found = problems('nmae = 1\n[server]\nport = 0\n[journal]\nformat = "xml"\n[[meters]]\nname = "x"\n')
    assert [problem.split(": ")[1] for problem in found] == [
        "server.port",
        "journal.format",
        "meters[0].unit_id",
        "nmae",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = \n", "c.toml: line 1, column 8: is not TOML: Invalid value; see"),
        ('a = 1\nname = "x', "c.toml: end of document: is not TOML: Unterminated string; see"),
        ("[server]\n[server]\n", "c.toml: line 2, column 8: is not TOML: Cannot declare"),
        ("a = 1\na = 2\n", "c.toml: line 2, column 6: is not TOML: Cannot overwrite a value"),
        (f"a = {'9' * 5000}", "c.toml: is not TOML that can be read: Exceeds the limit"),
        (f"a = {'[' * 100_000}", "c.toml: is not TOML that can be read: "),
    ],
)
def test_what_is_not_toml_is_reported_with_its_line(text: str, message: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file; create it, or name another"):
        load(tmp_path / "none.toml")


def test_a_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory; name the TOML file in it"):
        load(tmp_path)


def test_a_file_that_is_not_utf_8_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b'name = "x"\n# caf\xe9\n')
    with pytest.raises(ConfigError, match=r"c\.toml: line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"):
        load(path)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: is over 1 MiB long"):
        load("/dev/zero")


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "zones", "meters", "address", "network", "measurements", "unit_id", "type", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(inner) for inner in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"'
            + "".join(f"\\U{ord(letter):08x}" for letter in value if not 0xD800 <= ord(letter) < 0xE000)
            + '"'
        )
    return "2026-01-01" if value is None else repr(value)


@given(
    st.dictionaries(
        st.sampled_from(["name", "server", "journal", "zones", "meters", "x"]), toml_values, max_size=6
    )
)
def test_any_toml_is_either_loaded_or_refused_on_single_lines(data: dict[str, Any]) -> None:
    text = "\n".join(f"{key} = {as_toml(value)}" for key, value in data.items())
    for problem in problems_if_any(text):
        assert problem.isprintable()
        assert len(problem) < 400
