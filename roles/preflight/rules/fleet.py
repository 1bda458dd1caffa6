"""Rules on several Pis: no two may have the same address or name, and a jump host has to forward."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any

from roles.preflight.rules.networks import interface_of, jump_hosts
from roles.preflight.rules.problem import Problem, Values, problem, text

IDENTITY = ("ansible_host", "network_field_address", "network_control_address", "appliance_hostname")
"""The variables that have to be unique, within a site or in the whole inventory."""

_ALIAS = re.compile(r"HostKeyAlias[= ]\S*", re.IGNORECASE)

Scope = tuple[str, str, str]
"""A kind of value, the Pis among which it has to be unique, and the value."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The values that have to be unique to one Pi. An empty string is unknown, and not compared.

    places: the file and line of each variable, by its name.
    """

    name: str
    site: str
    reached_at: str
    reached_by: str
    """SSH's options: behind different jump hosts, the same address is another machine."""
    field_address: str
    control_address: str
    host_name: str
    jump_host: str
    """As preflight_jump_host: one or several, with commas."""
    forwards: bool
    """Whether its sshd may forward connections."""
    places: dict[str, str]

    def as_result(self) -> dict[str, Any]:
        """Return what `Identity(**result)` takes."""
        return asdict(self)


def identify(name: str, values: Values, places: dict[str, str]) -> Identity:
    """Return a Pi's identity from its variables."""
    addresses = {zone: interface_of(values, zone) for zone in ("field", "control")}
    return Identity(
        name=name,
        site=str(values.get("preflight_site") or ""),
        reached_at=_reached_at(values),
        # The alias of the host key is the Pi's own name, and always differs.
        reached_by=_ALIAS.sub("", text(values, "ansible_ssh_common_args") or ""),
        field_address=str(addresses["field"].ip) if addresses["field"] else "",
        control_address=str(addresses["control"].ip) if addresses["control"] else "",
        host_name=(text(values, "appliance_hostname") or "").lower(),
        jump_host=text(values, "preflight_jump_host") or "",
        # With passwords, sshd keeps the settings that the Pi has.
        forwards=values.get("appliance_ssh_forwarding") is True
        or values.get("appliance_ssh_key_only") is False,
        places=places,
    )


def _reached_at(values: Values) -> str:
    """Return the address that SSH connects to, with the port if that is not 22."""
    host, port = text(values, "ansible_host"), values.get("ansible_port")
    if not host:
        return ""
    return _normal(host) if port in (None, "", 22, "22") else f"{_normal(host)} port {port}"


def _normal(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower().removesuffix(".")


def compare(pis: Sequence[Identity], in_this_run: Iterable[str]) -> Iterator[tuple[str, Problem]]:
    """Yield (name of the Pi, problem) for each value that a Pi shares with an earlier one.

    Each Pi is compared with the first that has the value, so a value that a whole site shares is one line per
    Pi. Values that only Pis outside this run share are left out: this run neither affects nor fixes them.
    """
    running = set(in_this_run)
    seen: dict[Scope, tuple[Identity, str]] = {}
    for pi in pis:
        shared: set[str] = set()
        for name, value, scopes in _claims(pi):
            taken = next((seen[scope] for scope in scopes if scope in seen), None)
            if taken is None:
                seen.update(dict.fromkeys(scopes, (pi, name)))
            # ansible_host usually follows an address, which has the problem already.
            elif taken[0] is not pi and running & {pi.name, taken[0].name} and value not in shared:
                shared.add(value)
                yield pi.name, _shared(*taken, pi, name, value)
    yield from _closed_gates(pis, running)


def _closed_gates(pis: Sequence[Identity], running: set[str]) -> Iterator[tuple[str, Problem]]:
    """Yield each Pi that is a jump host of another of its site, and would forward nothing."""
    gates: dict[tuple[str, str], Identity] = {}
    for pi in pis:
        for value in (pi.reached_at, pi.field_address, pi.control_address, pi.host_name, pi.name.lower()):
            gates.setdefault((pi.site, value), pi)
    found: set[str] = set()
    for pi in pis:
        for host in jump_hosts(pi.jump_host):
            gate = gates.get((pi.site, _normal(host)))
            if gate is None or gate is pi or gate.forwards or gate.name in found:
                continue
            if running & {pi.name, gate.name}:
                found.add(gate.name)
                yield gate.name, _closed(gate, pi)


def _closed(gate: Identity, behind: Identity) -> Problem:
    way = f"{behind.name} is reached through {gate.name} (its preflight_jump_host is {behind.jump_host})"
    fix = f"set appliance_ssh_forwarding: true for {gate.name}"
    return problem("appliance_ssh_forwarding", f"{way}, whose sshd would forward nothing; {fix}")


def _claims(pi: Identity) -> Iterator[tuple[str, str, list[Scope]]]:
    """Yield (variable, value, scopes): the value has to be unique within each scope."""
    # One scope for both zones: a Pi's field address may not be another's control address.
    for name, address in (
        ("network_field_address", pi.field_address),
        ("network_control_address", pi.control_address),
    ):
        if address:
            yield name, address, [("address in a site", pi.site, address)]
    if pi.reached_at:
        in_site: Scope = ("reached in a site", pi.site, pi.reached_at)
        by_way: Scope = ("reached by a way", pi.reached_by, pi.reached_at)
        yield "ansible_host", pi.reached_at, [in_site, by_way]
    if pi.host_name:
        yield "appliance_hostname", pi.host_name, [("name in a site", pi.site, pi.host_name)]


def _shared(earlier: Identity, theirs: str, later: Identity, mine: str, value: str) -> Problem:
    where = f" ({earlier.places[theirs]})" if theirs in earlier.places else ""
    fix = "give each Pi its own"
    if mine != "ansible_host":
        fix = "give each Pi of a site its own, or set preflight_site if they are at different sites"
    elif earlier.site != later.site:
        fix = "give each site a preflight_jump_host of its own, or each Pi an ansible_host that leads to it"
    return problem(mine, f"{value} of {later.name} is {theirs} of {earlier.name} already{where}; {fix}")
