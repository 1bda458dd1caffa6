"""Addresses, networks, host names and firewall rules of one Pi."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address, ip_network

from roles.preflight.rules.admission import Zone, ssh_rules, zones_to
from roles.preflight.rules.connection import is_port
from roles.preflight.rules.problem import (
    Key,
    Problem,
    Values,
    integer,
    problem,
    show,
    show_key,
    text,
    texts,
)

ZONES = ("field", "control")

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # RFC 1123, 2.1
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # IFNAMSIZ of linux/if.h is 16, with the terminating NUL.
# As ssh -J takes it; a name of ~/.ssh/config may have underscores.
_JUMP = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::(?P<port>[0-9]{1,5}))?"
)
_MODBUS_PORT, _SSH_PORT = 502, 22
_MAX_DOMAIN_NAME = 253  # RFC 1035, 2.3.4, without the length octets


def is_host_name(name: str, longest: int = _MAX_DOMAIN_NAME) -> bool:
    """Return whether a name is a host name by RFC 1123: labels of letters, digits and hyphens."""
    return len(name) <= longest and all(_LABEL.fullmatch(label) for label in name.split("."))


def is_host(value: str) -> bool:
    """Return whether a value is an address or a host name, which no program takes for an option."""
    try:
        ip_address(value)
    except ValueError:
        # Digits and dots are meant as an address, although RFC 1123 permits them as a name.
        return is_host_name(value) and not re.fullmatch(r"[0-9.]+", value)
    return "%" not in value


def interface_of(values: Values, zone: str) -> IPv4Interface | None:
    """Return a zone's address with its network, or None if it is malformed."""
    address = text(values, f"network_{zone}_address")
    try:
        return IPv4Interface(address) if address and "/" in address else None
    except ValueError:
        return None


def check_networks(values: Values) -> Iterator[Problem]:
    """Check the variables of the role `network`."""
    for zone in ZONES:
        yield from _check_address(values, zone)
        yield from _check_gateway(values, zone)
        yield from _check_dns(values, zone)
        name = f"network_{zone}_interface"
        interface = values.get(name)
        if isinstance(interface, str) and not _INTERFACE.fullmatch(interface):
            yield problem(name, f"{show(interface)} is not an interface name; give one such as wlan0 or eth0")
        elif isinstance(interface, str) and "." in interface:
            why = "is a VLAN's, and the role network writes no profile of that type"
            fix = f"give its parent ({interface.split('.', maxsplit=1)[0]}), on a port without a tag"
            yield problem(name, f"{show(interface)} {why}; {fix}")
    field, control = interface_of(values, "field"), interface_of(values, "control")
    if field and control and field.network.overlaps(control.network):
        overlap = f"{field.network} overlaps {control.network} of network_control_address"
        yield problem("network_field_address", f"{overlap}; give each zone a network of its own")
    shared = text(values, "network_control_interface")
    if shared and shared == text(values, "network_field_interface"):
        message = f"{show(shared)} is network_field_interface already; give each zone its own"
        yield problem("network_control_interface", message)
    if text(values, "network_field_gateway") and text(values, "network_control_gateway"):
        message = "is a second default route beside network_field_gateway; leave one of them empty"
        yield problem("network_control_gateway", message)


def _check_address(values: Values, zone: str) -> Iterator[Problem]:
    name = f"network_{zone}_address"
    value = values.get(name)
    hint = "give this Pi's own address with the prefix length, such as 192.168.1.100/24"
    if not isinstance(value, str):
        return
    interface = interface_of(values, zone)
    if interface is None:
        try:
            IPv4Address(value)
        except ValueError:
            yield problem(name, f"{show(value)} is not an IPv4 address; {hint}")
        else:
            yield problem(name, f"{show(value)} has no prefix length; {hint}")
        return
    if not re.fullmatch(r"[0-9.]+/[0-9]+", value):
        yield problem(name, f"{show(value)} has a netmask; write {interface.with_prefixlen}")
    elif wrong := _no_host(interface.ip, interface.network):
        yield problem(name, f"{show(value)} {wrong}; {hint}")


def _no_host(address: IPv4Address, network: IPv4Network) -> str | None:
    """Return why an address can't be a host's in its network, or None."""
    if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved:
        return "is not the address of a host"
    if not 1 <= network.prefixlen <= 30:
        return "has a prefix length without room for a neighbour (1 to 30)"
    if address == network.network_address:
        return f"is the address of the network {network} itself"
    if address == network.broadcast_address:
        return f"is the broadcast address of {network}"
    return None


def _check_gateway(values: Values, zone: str) -> Iterator[Problem]:
    name = f"network_{zone}_gateway"
    value = text(values, name)
    own = interface_of(values, zone)
    if value is None:
        return
    try:
        gateway = IPv4Address(value)
    except ValueError:
        yield problem(
            name, f"{show(value)} is not an IPv4 address; give the router's address, or leave it empty"
        )
        return
    if own is None:
        return
    if gateway == own.ip:
        yield problem(
            name, f"{gateway} is this Pi's own address; give the router's address, or leave it empty"
        )
    elif gateway not in own.network:
        yield problem(name, f"{gateway} is not in the zone's network {own.network}; give a router within it")
    elif wrong := _no_host(gateway, own.network):
        yield problem(name, f"{gateway} {wrong}; give the router's address, or leave it empty")


def _check_dns(values: Values, zone: str) -> Iterator[Problem]:
    own = interface_of(values, zone)
    for key, value in texts(values, f"network_{zone}_dns"):
        try:
            server = IPv4Address(value)
        except ValueError:
            yield Problem(key, f"{show(value)} is not an IPv4 address; give a name server's address")
            continue
        if own and server == own.ip:
            yield Problem(
                key, f"{server} is this Pi's own address, and it runs no name server; give another address"
            )


def check_listen(values: Values) -> Iterator[Problem]:
    """Check that the server's address is the Pi's own, and that clients can reach it."""
    host = text(values, "concentrator_host")
    try:
        address = ip_address(host or "0.0.0.0")  # noqa: S104 - every interface, as the default is.
    except ValueError:
        # The program itself refuses what is not an address.
        return
    zones = values.get("concentrator_zones")
    own = (
        [str(zone.get("address")) for zone in zones if isinstance(zone, dict)]
        if isinstance(zones, list)
        else []
    )
    own += [str(interface.ip) for zone in ZONES if (interface := interface_of(values, zone))]
    own = list(dict.fromkeys(own))
    if address.is_unspecified or str(address) in own:
        return
    if address.is_loopback:
        wrong = f"{address} is reached only by programs on the Pi itself"
    else:
        wrong = f"{address} is not an address of this Pi ({', '.join(own)})"
    every = "::" if address.version == 6 else "0.0.0.0"  # noqa: S104
    yield problem("concentrator_host", f"{wrong}; give {every} for all of its addresses, or leave it out")


def check_reach(values: Values) -> Iterator[Problem]:
    """Check the addresses at which the controller connects to the Pi."""
    yield from _check_host(values, "network_bootstrap_host")
    jump = text(values, "preflight_jump_host")
    if jump and not all(_is_jump_host(hop) for hop in jump.split(",")):
        hint = "give a name of ~/.ssh/config, or [USER@]HOST[:PORT]; separate several with commas"
        yield problem("preflight_jump_host", f"{show(jump)} is not a jump host for SSH; {hint}")
    found = list(_check_host(values, "ansible_host"))
    yield from found
    host = text(values, "ansible_host")
    if found or host is None:
        return
    try:
        address = IPv4Address(host)
    except ValueError:
        return
    for zone in ZONES:
        own = interface_of(values, zone)
        if own and address in own.network and address != own.ip:
            lost = f"{address} is in the {zone} network, where this Pi will have {own.ip}"
            fix = "give that address here, and the one of a fresh Pi as network_bootstrap_host"
            yield problem("ansible_host", f"{lost}; {fix}")


def jump_hosts(way: str) -> list[str]:
    """Return the hosts of preflight_jump_host, without users and ports; anything malformed is left out."""
    return [match["host"] for hop in way.split(",") if (match := _JUMP.fullmatch(hop))]


def _is_jump_host(hop: str) -> bool:
    match = _JUMP.fullmatch(hop)
    return match is not None and (match["port"] is None or 1 <= int(match["port"]) <= 65535)


def _check_host(values: Values, name: str) -> Iterator[Problem]:
    value = values.get(name)
    hint = "give only a name or an address; user and port have their own variables"
    if not isinstance(value, str) or (not value and name != "ansible_host"):
        return
    try:
        address = ip_address(value)
    except ValueError:
        if not is_host(value):
            yield problem(name, f"{show(value)} is neither a host name nor an address; {hint}")
        return
    if address.is_unspecified or address.is_multicast or value == "255.255.255.255":
        yield problem(name, f"{address} is not the address of a host; {hint}")


def check_firewall(values: Values) -> Iterator[Problem]:
    """Check the variables of the role `firewall`, and that all roles use the same port."""
    sources = texts(values, "firewall_ssh_from")
    for key, value in sources:
        wrong = list(_check_network(key, value))
        yield from wrong or _check_arrival(values, key, value)
    if isinstance(values.get("firewall_ssh_from"), list) and not values["firewall_ssh_from"]:
        message = "is empty: nobody could log in any more; give the controller's network"
        yield problem("firewall_ssh_from", message)
    served, ssh = integer(values, "concentrator_port"), integer(values, "firewall_ssh_port")
    yield from _check_port(("firewall_ssh_port",), ssh)
    if served is not None and served == ssh:
        if served == _MODBUS_PORT:
            message = f"{ssh} is concentrator_port already; give the port of the Pi's SSH server, usually 22"
            yield problem("firewall_ssh_port", message)
        else:
            message = f"{served} is firewall_ssh_port already; give a port of its own, usually 502"
            yield problem("concentrator_port", message)
    else:
        yield from _check_door(values, ssh)
    for name in ("firewall_modbus_port", "authbind_port"):
        port = integer(values, name)
        if port is not None and served is not None and port != served:
            message = f"{port} is not concentrator_port ({served}); leave it out to use the same port"
            yield problem(name, message)
    yield from _check_extra_rules(values)


def _check_door(values: Values, ssh: int | None) -> Iterator[Problem]:
    """Check that the firewall would not close the port through which the controller connects.

    At the Pi's own address no router forwards ports, so ansible_port is the port of its SSH server.
    """
    host, port = text(values, "ansible_host"), values.get("ansible_port", _SSH_PORT)
    own = [str(interface.ip) for zone in ZONES if (interface := interface_of(values, zone))]
    if host not in own or not is_port(ssh) or not is_port(port) or int(port) == ssh:
        return
    rules = values.get("firewall_extra_rules")
    extra = [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    if int(port) in [rule.get("port") for rule in extra]:
        return
    lost = "so the firewall would shut this controller out"
    if int(port) == _SSH_PORT:
        message = f"{ssh} is not the port that SSH connects to ({port}), {lost}; set ansible_port: {ssh}, too"
        yield problem("firewall_ssh_port", message)
    else:
        message = f"{port} is not firewall_ssh_port ({ssh}), {lost}; set firewall_ssh_port: {port}, too"
        yield problem("ansible_port", message)


def _check_extra_rules(values: Values) -> Iterator[Problem]:
    rules = values.get("firewall_extra_rules")
    seen = dict(_rules_of_the_role(values))
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        key: Key = ("firewall_extra_rules", index)
        found = list(_check_rule(key, rule))
        yield from found
        port = integer(rule, "port")
        if found or port is None:
            continue
        match = _match(
            rule.get("from"), port, rule.get("to"), rule.get("interface"), rule.get("proto", "tcp")
        )
        if match in seen:
            # ufw replaces the first one's comment, and the next run would change it back.
            message = f"admits the same as {seen[match]}, and ufw keeps one rule with one comment; remove it"
            yield Problem(key, message)
        seen.setdefault(match, show_key(key))


def _rules_of_the_role(values: Values) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (what it admits, name) for each rule that the role `firewall` makes by itself."""
    served, ssh = integer(values, "concentrator_port"), integer(values, "firewall_ssh_port")
    for zone in ZONES:
        own, interface = interface_of(values, zone), text(values, f"network_{zone}_interface")
        if own and interface and served is not None:
            name = f"the role's rule for Modbus TCP from the {zone} zone"
            yield _match(own.network, served, own.ip, interface), name
    zones = _zones(values)
    for key, network in texts(values, "firewall_ssh_from"):
        if ssh is not None and not any(_check_network(key, network)):
            for rule in ssh_rules([network], zones, ssh):
                match = _match(network, ssh, rule["to"], rule["interface"])
                yield match, f"the role's rule for {show_key(key)}"


def _match(
    source: object, port: int, target: object = None, interface: object = None, proto: object = "tcp"
) -> tuple[str, ...]:
    """Return what a rule admits: two rules with the same result differ at most in their comments."""
    return str(source), str(target or "any"), str(interface or ""), str(port), str(proto)


def _zones(values: Values) -> list[Zone]:
    """Return both zones; none if an address or an interface is malformed, which is a problem of its own."""
    zones = []
    for zone in ZONES:
        address, interface = interface_of(values, zone), text(values, f"network_{zone}_interface")
        if address is None or interface is None:
            return []
        zones.append(Zone(interface, address, bool(text(values, f"network_{zone}_gateway"))))
    return zones


def _check_arrival(values: Values, key: Key, network: str) -> Iterator[Problem]:
    """Check that hosts of a network can arrive in a zone: SSH is admitted only on that zone's interface."""
    zones = _zones(values)
    if zones and not zones_to(network, zones):
        lost = f"{show(network)} is in neither zone's network, and no zone has a gateway"
        fix = "add a rule to firewall_extra_rules with its interface, or give the gateway"
        yield Problem(key, f"{lost}; {fix}")


def _check_rule(key: Key, rule: dict[str, object]) -> Iterator[Problem]:
    comment, source, target, interface = (rule.get(name) for name in ("comment", "from", "to", "interface"))
    if isinstance(comment, str) and (
        not comment.strip() or "'" in comment or '"' in comment or not comment.isprintable()
    ):
        message = (
            f"{show(comment)} can't be a rule's comment; give text without quotation marks or line breaks"
        )
        yield Problem((*key, "comment"), message)
    if isinstance(source, str):
        yield from _check_network((*key, "from"), source)
    if isinstance(target, str):
        try:
            ip_address(target)
        except ValueError:
            yield Problem(
                (*key, "to"), f"{show(target)} is not an address; give one of this Pi's own, or leave it out"
            )
    if isinstance(interface, str) and not _INTERFACE.fullmatch(interface):
        yield Problem(
            (*key, "interface"), f"{show(interface)} is not an interface name; give one such as eth0"
        )
    yield from _check_port((*key, "port"), integer(rule, "port"))


def _check_network(key: Key, value: str) -> Iterator[Problem]:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        yield Problem(key, f"{show(value)} is not a network; give one as 192.168.2.0/24")
        return
    # ufw writes each of these differently, so the next run would find a difference.
    if network.prefixlen == 0:
        yield Problem(key, f"{show(value)} matches every address; name the networks to admit")
    elif "/" not in value:
        return
    elif network.num_addresses == 1:
        yield Problem(key, f"{show(value)} is a single address; write {network.network_address}")
    elif value != str(network):
        yield Problem(key, f"{show(value)} has host bits set or a netmask; write {network}")


def _check_port(key: Key, port: int | None) -> Iterator[Problem]:
    if port is not None and not 1 <= port <= 65535:
        yield Problem(key, f"{port} is not a port; give 1 to 65535")
