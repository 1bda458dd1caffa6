"""The keys of limits, history, freshness, access and ranges: their effect, and how mistakes are reported."""

import math
from ipaddress import IPv4Network

import pytest

from smart_meter.config import (
    Access,
    AccessRule,
    Complete,
    Config,
    ConfigError,
    HistoryConfig,
    OnStale,
    OutOfRange,
    Publish,
    ServerConfig,
    Writers,
    loads,
)
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement
from smart_meter.registers.word_order import WordOrder

METER = '[[meters]]\nname = "m"\nunit_id = 1\n'
RULE = METER + "[[meters.access]]\n"


def measured(text: str) -> str:
    return METER + "[[meters.measurements]]\n" + text.replace(", ", "\n") + "\n"


def test_the_defaults_give_the_documented_behaviour() -> None:
    config = Config()
    server = config.server
    assert (server.port, server.max_connections, server.max_connections_per_client) == (502, 1000, 100)
    assert (server.idle_timeout, server.frame_timeout) == (300, 10)
    assert config.history == HistoryConfig("", 30, 400, 1024)
    meter = config.meters[0]
    assert (meter.stale_after, meter.on_stale, meter.publish) == (60, OnStale.HOLD, Publish.IMMEDIATE)
    assert (meter.out_of_range, meter.access) == (OutOfRange.FLAG, ())
    assert (meter.complete, meter.sample_gap, meter.sample_starts_at) == (Complete.ALL, 2, None)
    assert meter.writers is Writers.ANY


def test_limits_and_history_are_read() -> None:
    config = loads(
        "[server]\nmax_connections = 50\nmax_connections_per_client = 5\nidle_timeout = 0\n"
        "frame_timeout = 2.5\n"
        '[history]\npath = "/srv/h.db"\ncommit_interval = 0\nmax_age_days = 30\nmax_size_mib = 64\n'
        "[journal]\nlines_per_second = 0\n",
        "c.toml",
    )
    assert config.server == ServerConfig(
        max_connections=50, max_connections_per_client=5, idle_timeout=0, frame_timeout=2.5
    )
    assert config.history == HistoryConfig("/srv/h.db", 0, 30, 64)
    assert config.journal.lines_per_second == 0


def test_a_meter_configures_when_it_is_stale_and_what_readers_get() -> None:
    [meter] = loads(
        METER + 'stale_after = 5\non_stale = "sentinel"\npublish = "complete"\nout_of_range = "refuse"\n', "c"
    ).meters
    assert (meter.stale_after, meter.on_stale) == (5, OnStale.SENTINEL)
    assert (meter.publish, meter.out_of_range) == (Publish.COMPLETE, OutOfRange.REFUSE)


def test_a_meter_configures_how_its_samples_are_put_together() -> None:
    [meter] = loads(
        METER + 'complete = "any"\nsample_gap = 0.5\nsample_starts_at = 0\nwriters = "one"\n', "c"
    ).meters
    assert (meter.complete, meter.sample_gap, meter.sample_starts_at) == (Complete.ANY, 0.5, 0)
    assert meter.writers is Writers.ONE


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sample_starts_at = 65536", "65536 is out of range; give a register of the map from 0 to 65535"),
        ('sample_starts_at = "0"', '"0" is not an integer; give a register of the map from 0 to 65535'),
        ("sample_gap = 0", "0 is out of range; give seconds from 0.05 to 3600"),
    ],
)
def test_a_wrong_setting_of_incomplete_samples_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loads(METER + line + "\n", "c")
    assert [problem.message for problem in refused.value.problems] == [message]


def test_a_meters_rules_name_zones_clients_and_function_codes() -> None:
    [meter] = loads(
        RULE + 'zone = "field"\nclients = ["192.168.1.50", "192.168.1.64/28"]\naccess = "read-write"\n'
        '[[meters.access]]\nzone = "control"\nfunctions = [3, 4]\n',
        "c",
    ).meters
    clients = (IPv4Network("192.168.1.50/32"), IPv4Network("192.168.1.64/28"))
    assert meter.access == (
        AccessRule("field", clients, Access.READ_WRITE),
        AccessRule("control", (), Access.READ, frozenset({3, 4})),
    )


def test_a_measurement_has_type_order_offset_range_and_sentinel() -> None:
    text = (
        'name = "E", address = 0, type = "int32", word_order = "little", scale = 10, offset = -40.5, '
        'minimum = -40, maximum = 120.5, sentinel = -9999, unit = "°C", decimals = 2'
    )
    [measurement] = loads(measured(text), "c").meters[0].map.measurements
    assert measurement == Measurement(
        "E", 0, DataType.INT32, 10, "°C", 2, WordOrder.LITTLE, -40.5, -40, 120.5, -9999
    )


@pytest.mark.parametrize("value", [True, False])
def test_a_measurement_says_whether_its_sentinel_is_no_value(value: bool) -> None:
    text = f'name = "x", address = 0, no_value = {"true" if value else "false"}'
    [measurement] = loads(measured(text), "c").meters[0].map.measurements
    assert measurement.no_value is value


def test_the_sentinel_of_a_float_may_be_not_a_number() -> None:
    text = 'name = "E", address = 0, type = "float32", sentinel = {}'
    for value, expected in (("nan", math.nan), ("-1.5", -1.5), ("7", 7)):
        [measurement] = loads(measured(text.format(value)), "c").meters[0].map.measurements
        assert measurement.sentinel == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[server]\nmax_connections = 0",
            "server.max_connections: 0 is out of range; give an integer from 1",
        ),
        ("[server]\nmax_connections = 9000", "9000 is out of range; give an integer from 1 to 8000"),
        ("[server]\nmax_connections_per_client = true", "max_connections_per_client: true is not an integer"),
        (
            "[server]\nidle_timeout = 0.5",
            "idle_timeout: 0.5 is out of range; give seconds from 1 to 604800, or 0 ",
        ),
        (
            "[server]\nidle_timeout = false",
            "idle_timeout: false is not a number; give seconds from 1 to 604800",
        ),
        ("[server]\nframe_timeout = 0", "frame_timeout: 0 is out of range; give seconds from 0.1 to 3600"),
        ("[journal]\nlines_per_second = -1", "lines_per_second: -1 is out of range; give lines from 0"),
        ('[history]\npath = "h.db"', 'history.path: "h.db" is not the absolute path of a file; give'),
        ('[history]\npath = "/srv/"', 'history.path: "/srv/" is not the absolute path of a file'),
        (
            "[history]\ncommit_interval = 0.001",
            "commit_interval: 0.001 is out of range; give seconds from 0.01",
        ),
        ("[history]\nmax_age_days = 0", "history.max_age_days: 0 is out of range; give days"),
        ("[history]\nmax_size_mib = 0.5", "history.max_size_mib: 0.5 is out of range; give MiB from 1"),
        ("[history]\nmax_size = 5", 'history.max_size: is an unknown key; did you mean "max_size_mib"?'),
        (METER + "stale_after = 0.01", "meters[0].stale_after: 0.01 is out of range; give seconds from 0.1"),
        (METER + 'on_stale = "fail"', 'on_stale: "fail" is unknown; give "hold", "exception" or "sentinel"'),
        (METER + 'publish = "whole"', 'publish: "whole" is unknown; give "immediate" or "complete"'),
        (METER + 'out_of_range = "drop"', 'out_of_range: "drop" is unknown; give "flag" or "refuse"'),
        (RULE + 'zone = "fild"\naccess = "write"', 'did you mean "field"?'),
        (RULE + 'access = "write"', 'meters[0].access[0].zone: "" is unknown; give "field" or "control"'),
        (RULE + 'zone = "field"', "meters[0].access: nobody may write, so no value would arrive"),
        (RULE + 'zone = "field"\naccess = "rw"', 'access[0].access: "rw" is unknown; give "none", "read", '),
        (
            RULE + 'zone = "field"\naccess = "write"\nclients = ["192.168.2.10"]',
            'access[0].clients: "192.168.2.10" (clients[0]) is not in the zone\'s network 192.168.1.0/24',
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nclients = ["192.168.1.50", 7]',
            "access[0].clients: 7 (clients[1]) is not an IPv4 address or network",
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nclients = ["192.168.1.50/24"]',
            '"192.168.1.50/24" (clients[0]) is not an IPv4 address or network',
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nclients = 7',
            "access[0].clients: 7 is not a list; give a list",
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nfunctions = [5]',
            "functions: 5 is not a supported function code; give a list of function codes out of 3, 4, 6",
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nfunctions = [16, 23]',
            'functions: 23 takes more than access "write"; give access "read-write"',
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\n[[meters.access]]\nzone = "control"\nfunctions = [16]',
            'access[1].functions: 16 takes more than access "read"; give access "write" or "read-write"',
        ),
        (
            measured('name = "x", address = 0, minimum = 5, maximum = 4'),
            "minimum: 5 is over maximum, 4; swap",
        ),
        (
            measured('name = "x", address = 0, minimum = "a"'),
            'minimum: "a" is not a number; give the lowest value',
        ),
        (
            measured('name = "x", address = 0, word_order = "little"'),
            '"little" for uint16, which is one register',
        ),
        (
            measured('name = "x", address = 0, word_order = "CDAB"'),
            'word_order: "CDAB" is unknown; give "big"',
        ),
        (
            measured('name = "x", address = 0, sentinel = 65536'),
            "sentinel: 65536 is out of range; give the stored",
        ),
        (
            measured('name = "x", address = 0, sentinel = nan'),
            "sentinel: nan is not an integer; give the stored integer",
        ),
        (
            measured('name = "x", address = 0, type = "float32", sentinel = 1e39'),
            "sentinel: 1e+39 is out of range",
        ),
        (
            measured('name = "t", address = 0, type = "timestamp", sentinel = 0'),
            "sentinel: a timestamp has no sentinel; leave the key out",
        ),
        (
            measured('name = "t", address = 0, type = "timestamp", offset = 1'),
            "offset: 1 for a timestamp; Unix",
        ),
        (
            measured('name = "t", address = 0, type = "timestamp", maximum = 1'),
            "maximum: 1 for a timestamp, which has no range; leave the key out",
        ),
        (
            measured('name = "t", address = 0, type = "timestamp", no_value = true'),
            "no_value: true for a timestamp, which always is a value; leave the key out",
        ),
        (
            measured('name = "x", address = 0, no_value = 1'),
            "no_value: 1 is neither true nor false; give true or false; without it, true for int16,",
        ),
        (
            measured('name = "x", address = 0, type = "int16", minimum = -32768, maximum = 32767'),
            "sentinel: -32768, the type's own, lies in the range, so it is a value; give one outside, or no_",
        ),
        (
            measured('name = "x", address = 0, no_value = true, minimum = 0, maximum = 65535'),
            "sentinel: 65535, the type's own, lies in the range, so it is a value; give one outside, or no_",
        ),
        ('[history]\npath = "/usr/lib"', 'history.path: "/usr/lib" is a folder; give an absolute path, such'),
        ('[events]\npath = "/usr/lib"', 'events.path: "/usr/lib" is a folder; give an absolute path, such'),
        (
            '[history]\npath = "/x/a.db"\n[events]\npath = "/x/../x/a.db"',
            'events.path: "/x/../x/a.db" is the history\'s file; give the events one of their own',
        ),
        (
            measured('name = "x", address = 0, scale = 10, maximum = 7000'),
            "maximum: 7000 is stored as 70000, outside 0 to 65535 of uint16; give 0 to 6553.5",
        ),
        (
            measured('name = "x", address = 0, type = "int16", scale = 100, offset = -40, minimum = -368'),
            "minimum: -368 is stored as -32800, outside -32768 to 32767 of int16; give -367.68 to 287.67",
        ),
        (
            measured('name = "x", address = 0, minimum = -40, maximum = 90'),
            "measurements[0].minimum: -40 is stored as -40, outside 0 to 65535 of uint16; give 0 to 65535",
        ),
        (
            measured('name = "x", address = 0, type = "uint32", maximum = -1'),
            "maximum: -1 is stored as -1, outside 0 to 4294967295 of uint32",
        ),
        (
            measured('name = "x", address = 0, scale = 10, minimum = 0.31, maximum = 0.39'),
            "minimum: 0.31 to maximum, 0.39, holds no value that uint16 can store with this scale and offset",
        ),
        (
            measured('name = "x", address = 0, minimum = 0, maximum = 100, sentinel = 100'),
            "measurements[0].sentinel: 100 lies in the range, so it is a value; give one outside",
        ),
        (
            measured('name = "x", address = 0, minimum = 0, sentinel = 0'),
            "sentinel: 0 lies in the range, so it is a value; give one outside",
        ),
        (
            measured('name = "x", address = 0, type = "float32", minimum = -1, maximum = 1, sentinel = -1'),
            "sentinel: -1 lies in the range, so it is a value; give one outside",
        ),
        (
            METER + 'on_stale = "sentinel"\n'
            '[[meters.measurements]]\nname = "x"\naddress = 0\nminimum = 0\nmaximum = 65535',
            "sentinel: 65535, the type's own, lies in the range, so it is a value; give one outside",
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\n[[meters.access]]\nzone = "field"\n'
            'clients = ["192.168.1.50"]\naccess = "read-write"',
            "access[1].clients: ['192.168.1.50'] is never reached: access[0] already decides for "
            "all of these clients; put this rule first, or remove it",
        ),
        (
            RULE + 'zone = "field"\nclients = ["192.168.1.0/25"]\naccess = "write"\n'
            '[[meters.access]]\nzone = "field"\nclients = ["192.168.1.128/25"]\n'
            '[[meters.access]]\nzone = "field"\naccess = "none"',
            'access[2].zone: "field" is never reached: access[0] and access[1] already '
            "decide for all of zone field; put this rule first, or remove it",
        ),
        (
            RULE + 'zone = "field"\naccess = "read-write"\nfunctions = [3, 8]',
            "access[0].functions: [3, 8] has no function code that writes (6, 16, 22, 23), so access "
            '"read-write" lets nobody write; add one, or give access "read"',
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nclients = ["192.168.1.100"]',
            'access[0].clients: "192.168.1.100" (clients[0]) is this Pi\'s own address; give an address or',
        ),
        (
            RULE + 'zone = "field"\naccess = "write"\nclients = ["192.168.1.255"]',
            'access[0].clients: "192.168.1.255" (clients[0]) is not a host\'s address; give an address or',
        ),
    ],
)
def test_each_mistake_is_reported_once_with_its_key_and_its_fix(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loads(text, "c.toml")
    found = [str(problem) for problem in refused.value.problems]
    assert [message in problem for problem in found] == [True], found


@pytest.mark.parametrize(
    "text",
    [
        # The limits are the type's own.
        measured('name = "x", address = 0, scale = 10, minimum = 0, maximum = 6553.5'),
        measured(
            'name = "x", address = 0, type = "int16", offset = 0.5, minimum = -32767.5, maximum = 32767.5, '
            "no_value = false"
        ),
        # Between two numbers that can be stored.
        measured('name = "x", address = 0, scale = 10, minimum = -0.05, maximum = 6553.55'),
        # A type's own sentinel, where only one limit is set.
        measured('name = "x", address = 0, type = "int16", maximum = 90'),
        METER + 'on_stale = "sentinel"\n[[meters.measurements]]\nname = "x"\naddress = 0\nminimum = 0\n',
        measured('name = "x", address = 0, minimum = 0, sentinel = 65535'),
        measured('name = "x", address = 0, minimum = 1, maximum = 100, sentinel = 0'),
        measured('name = "x", address = 0, type = "float32", minimum = 0, maximum = 1, sentinel = nan'),
        # One client before its network, and the same addresses in two zones.
        RULE + 'zone = "field"\nclients = ["192.168.1.50"]\naccess = "write"\n'
        '[[meters.access]]\nzone = "field"\nclients = ["192.168.1.0/25", "192.168.1.50"]\n'
        '[[meters.access]]\nzone = "field"\n[[meters.access]]\nzone = "control"',
        RULE + 'zone = "field"\naccess = "read-write"\nfunctions = [3, 22]',
        '[history]\npath = "/usr/lib/history.db"',
    ],
)
def test_what_can_work_is_not_refused(text: str) -> None:
    assert loads(text, "c.toml").meters


def test_invalid_zones_cause_no_problems_in_access_rules() -> None:
    text = "[[zones]]\nname = 7\n" + RULE + 'zone = "field"\naccess = "write"\n'
    with pytest.raises(ConfigError) as refused:
        loads(text, "c.toml")
    assert all(problem.key.startswith("zones[0]") for problem in refused.value.problems)
