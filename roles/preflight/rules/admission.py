"""Through which zone SSH is admitted from a network, and whether the rules admit the controller. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, ip_address, ip_network
from typing import Any

Rule = Mapping[str, Any]
"""As in firewall_extra_rules: comment, from, port, and optionally interface, to and proto."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone of the Pi. address: the Pi's own, with the network. gateway: whether it has one."""

    interface: str
    address: IPv4Interface
    gateway: bool


def zones_to(network: str, zones: Sequence[Zone]) -> list[Zone]:
    """Return the zones in which hosts of a network can arrive: those that it overlaps, and the gateway's.

    The gateway's zone is left out if the network lies within a zone, and so has no hosts elsewhere.
    """
    hosts = ip_network(network, strict=False)
    if not isinstance(hosts, IPv4Network):
        # The zones have no IPv6 (templates/etc/NetworkManager).
        return []
    if any(hosts.subnet_of(zone.address.network) for zone in zones):
        return [zone for zone in zones if hosts.subnet_of(zone.address.network)]
    return [zone for zone in zones if zone.gateway or hosts.overlaps(zone.address.network)]


def ssh_rules(networks: Sequence[str], zones: Sequence[Zone], port: int) -> list[dict[str, Any]]:
    """Return the rules that admit SSH from each network, on the zone's interface, to the Pi's address."""
    return [
        {
            "comment": f"SSH from {network}",
            "interface": zone.interface,
            "from": network,
            "to": str(zone.address.ip),
            "port": port,
        }
        for network in networks
        for zone in zones_to(network, zones)
    ]


def lockout(connection: str, rules: Sequence[Rule], zones: Sequence[Zone], networks: Sequence[str]) -> str:
    """Return why the rules would not admit the controller again, with the fix; empty if they would.

    connection: SSH_CONNECTION on the Pi; empty without SSH. networks: firewall_ssh_from.
    """
    if not connection:
        return ""
    client, _, server, port = connection.split()
    from_client = [rule for rule in rules if _is_tcp(rule) and _contains(rule["from"], client)]
    to_port = [rule for rule in from_client if str(rule["port"]) == port]
    # A rule for Modbus may admit it, too, so what counts is whether firewall_ssh_from contains it.
    if not to_port and any(_contains(network, client) for network in networks):
        ports = ", ".join(sorted({str(rule["port"]) for rule in from_client}))
        found = f"this controller connects to the Pi's port {port}, and {client} is admitted to {ports}"
        return f"firewall_ssh_port: {found}"
    if not to_port:
        found = (
            f"{', '.join(networks)} does not contain {client}, the address that this controller connects from"
        )
        return f"firewall_ssh_from: {found}; add its network there"
    # It may also arrive on an interface of no zone, which only a further rule can name.
    elsewhere = {zone.interface for zone in zones} - {zone.interface for zone in zones_to(client, zones)}
    if any(_admits(rule, server, elsewhere) for rule in to_port):
        return ""
    admitted = ", ".join(
        sorted({f"{rule.get('to', 'any')} on {rule.get('interface', 'any')}" for rule in to_port})
    )
    return (
        f"firewall_ssh_from: {client} is admitted to {admitted}, and this controller connects to {server}; "
        "set ansible_host to an admitted address, or add a rule to firewall_extra_rules"
    )


def _is_tcp(rule: Rule) -> bool:
    return str(rule.get("proto", "tcp")) == "tcp"


def _contains(network: str, client: str) -> bool:
    # A link-local address of IPv6 has its interface behind it.
    return ip_address(client.partition("%")[0]) in ip_network(network, strict=False)


def _admits(rule: Rule, server: str, elsewhere: Collection[str]) -> bool:
    """Whether a rule admits a connection to the address. elsewhere: where it does not arrive."""
    to = rule.get("to")
    if rule.get("interface") in elsewhere:
        return False
    return to is None or ip_address(to) == ip_address(server.partition("%")[0])
