from ipaddress import IPv4Network

import pytest

from smart_meter.config import CONTROL_ZONE, FIELD_ZONE, Access, AccessRule, Config, MeterConfig
from smart_meter.meters.roles import Permission, Role, Roles, permission
from smart_meter.registers.register_map import PV_MAP

READS = (permission(Access.READ),)
WRITES = (permission(Access.READ_WRITE),)
ESP32 = Role("field", "ESP32", "ESP32", WRITES)
OPTA = Role("control", "OPTA", "OPTA", READS)
LOCALHOST = Role("LOCALHOST", "LOCALHOST", "LOCALHOST", READS)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.168.1.50", ESP32),
        ("192.168.1.255", ESP32),
        ("192.168.2.10", OPTA),
        ("::ffff:192.168.2.10", OPTA),
        ("127.0.0.1", LOCALHOST),
        ("127.8.9.10", LOCALHOST),
        ("::1", LOCALHOST),
        ("::ffff:127.0.0.1", LOCALHOST),
    ],
)
def test_the_network_of_a_client_decides(address: str, client: Role) -> None:
    assert Roles(Config()).role(address) == client


@pytest.mark.parametrize(
    "address",
    ["192.168.0.255", "192.168.3.0", "10.0.0.1", "8.8.8.8", "fe80::1", "fe80::1%eth0", "::", "0.0.0.1"],
)
def test_a_client_in_no_zone_has_no_role(address: str) -> None:
    assert Roles(Config()).role(address) is None


@pytest.mark.parametrize(
    "local", ["192.168.2.100", "10.0.0.1", "192.168.1.101", "::ffff:192.168.2.100", "fe80::1"]
)
def test_a_host_of_a_zone_that_reaches_another_address_has_no_role(local: str) -> None:
    control = Roles(Config())
    assert control.role("192.168.1.50", local) is None
    assert control.role("192.168.1.50", "192.168.1.100") == ESP32
    assert control.role("192.168.1.50", "::ffff:192.168.1.100") == ESP32


@pytest.mark.parametrize("own", ["192.168.1.100", "192.168.2.100"])
def test_a_program_of_this_machine_is_no_host_of_the_zone_whose_address_it_uses(own: str) -> None:
    assert Roles(Config()).role(own, own) == LOCALHOST


def test_in_a_trial_this_machine_writes_as_the_writer_and_reads_as_the_reader() -> None:
    control = Roles(Config(), trial=True)
    assert control.role("127.0.0.1") == Role("LOCALHOST", "OPTA", "ESP32", WRITES)


def test_in_a_trial_the_zones_are_as_ever() -> None:
    control = Roles(Config(), trial=True)
    assert control.role("192.168.2.10") == OPTA
    assert control.role("10.0.0.1") is None


def test_in_a_trial_with_a_writing_zone_alone_this_machine_is_that_zone() -> None:
    control = Roles(Config(zones=(FIELD_ZONE,)), trial=True)
    assert control.role("::1") == Role("LOCALHOST", "ESP32", "ESP32", WRITES)


def test_a_zone_may_be_smaller_than_a_byte() -> None:
    small = FIELD_ZONE._replace(network=IPv4Network("192.168.1.64/28"))
    control = Roles(Config(zones=(small,)))
    found = [control.role(f"192.168.1.{host}") is not None for host in (63, 64, 79, 80)]
    assert found == [False, True, True, False]


RULES = (
    AccessRule("field", (IPv4Network("192.168.1.50/32"), IPv4Network("192.168.1.96/28")), Access.READ_WRITE),
    AccessRule("field", (), Access.NONE),
    AccessRule("control", (), Access.READ, frozenset({4})),
)


def permissions(address: str) -> tuple[Permission, ...]:
    open_meter = MeterConfig("open", 1, PV_MAP)
    config = Config(meters=(open_meter, open_meter._replace(unit_id=2, access=RULES)))
    client = Roles(config).role(address)
    assert client is not None
    return client.permissions


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.1.50", permission(Access.READ_WRITE)),
        ("192.168.1.99", permission(Access.READ_WRITE)),
        ("192.168.1.51", permission(Access.NONE)),
        ("192.168.2.10", permission(Access.READ, frozenset({4}))),
    ],
)
def test_a_meters_first_rule_that_fits_decides(address: str, expected: Permission) -> None:
    assert permissions(address)[1] == expected


def test_a_meter_without_rules_is_as_the_zone_has_it() -> None:
    assert [permissions(address)[0] for address in ("192.168.1.51", "192.168.2.10")] == [
        permission(Access.READ_WRITE),
        permission(Access.READ),
    ]


def test_a_client_that_no_rule_fits_may_do_nothing() -> None:
    meter = MeterConfig("pv", 1, PV_MAP, access=RULES[:1])
    client = Roles(Config(zones=(FIELD_ZONE, CONTROL_ZONE), meters=(meter,))).role("192.168.2.10")
    assert client is not None
    assert client.permissions == (permission(Access.NONE),)


@pytest.mark.parametrize(
    ("allowed", "functions"),
    [
        (permission(Access.NONE), set()),
        (permission(Access.NONE, frozenset({3, 8})), set()),
        (permission(Access.READ), {3, 4, 8, 43}),
        (permission(Access.WRITE), {6, 8, 16, 22, 43}),
        (permission(Access.READ_WRITE), {3, 4, 6, 8, 16, 22, 23, 43}),
        (permission(Access.READ_WRITE, frozenset({4, 23})), {4, 23}),
        (permission(Access.READ, frozenset({4, 23})), {4}),
    ],
)
def test_a_permission_covers_what_a_function_reads_and_writes(
    allowed: Permission, functions: set[int]
) -> None:
    assert allowed.functions == functions
