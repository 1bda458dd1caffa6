"""What no Pi can know of itself: that another one has the same address or name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any

from roles.preflight.rules.networks import interface_of
from roles.preflight.rules.problem import Problem, Values, problem, text

IDENTITY = ("ansible_host", "network_field_address", "network_control_address", "appliance_hostname")
"""The variables that have to be one Pi's own, within its site or at all."""

_ALIAS = re.compile(r"HostKeyAlias[= ]\S*", re.IGNORECASE)

Scope = tuple[str, str, str]
"""What is compared, among which Pis, and the value."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What has to be one Pi's own. An empty string: not known, and not compared.

    places: where each variable is set, or would be, by its name.
    """

    name: str
    site: str
    reached_at: str
    reached_by: str
    """How SSH gets there; a jump host makes the same address another one."""
    field_address: str
    control_address: str
    host_name: str
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
        # The host key's alias is the Pi's own name, and differs always.
        reached_by=_ALIAS.sub("", text(values, "ansible_ssh_common_args") or ""),
        field_address=str(addresses["field"].ip) if addresses["field"] else "",
        control_address=str(addresses["control"].ip) if addresses["control"] else "",
        host_name=(text(values, "appliance_hostname") or "").lower(),
        places=places,
    )


def _reached_at(values: Values) -> str:
    """Return where SSH finds the Pi; behind a router that forwards ports, the port is a part of it."""
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
    """Yield (name of the Pi, problem) for whatever a Pi has in common with an earlier one.

    Each is held against the first that has it, so that a value that a whole site shares is one line a Pi.
    What only Pis outside this run share is left out: they can't be mended by it, nor be harmed.
    """
    running = set(in_this_run)
    seen: dict[Scope, tuple[Identity, str]] = {}
    for pi in pis:
        shared: set[str] = set()
        for name, value, scopes in _claims(pi):
            taken = next((seen[scope] for scope in scopes if scope in seen), None)
            if taken is None:
                seen.update(dict.fromkeys(scopes, (pi, name)))
            # ansible_host follows an address as a rule; then that one has the problem already.
            elif taken[0] is not pi and running & {pi.name, taken[0].name} and value not in shared:
                shared.add(value)
                yield pi.name, _shared(*taken, pi, name, value)


def _claims(pi: Identity) -> Iterator[tuple[str, str, list[Scope]]]:
    """Yield (variable, value, scopes): within each scope the value has to be one Pi's own."""
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
    mend = "give each Pi its own"
    if mine != "ansible_host":
        mend = "give each Pi of a site its own, or say with preflight_site that they are of different sites"
    elif earlier.site != later.site:
        mend = "give each site a preflight_jump_host of its own, or each Pi an ansible_host that leads to it"
    return problem(mine, f"{value} of {later.name} is {theirs} of {earlier.name} already{where}; {mend}")
