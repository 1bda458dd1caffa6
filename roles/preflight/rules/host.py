"""All rules on one host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from roles.preflight.rules.configuration import check_configuration
from roles.preflight.rules.connection import check_connection
from roles.preflight.rules.networks import check_firewall, check_listen, check_networks, check_reach
from roles.preflight.rules.problem import Problem, Values, problem
from roles.preflight.rules.secrets import check_sudo, check_wifi
from roles.preflight.rules.settings import check_settings
from roles.preflight.rules.shapes import Options, check_names, check_shapes


@dataclass(frozen=True, slots=True)
class Host:
    """One host's variables, as the rules need them.

    values: templated, by name. A value that can't be templated is left out and listed in `failures`, or in
    `default_failures` if it is a role's default: that fails because of another variable, which has its own
    problem. names: all variables of the host. by_hand: those set in the inventory or on the command line.
    defaults: the roles' variables that nobody has set. password_asked: sudo's password came from
    --ask-become-pass or a file. plain: the unencrypted secrets. render: returns the host's configuration.
    """

    values: Values
    names: Collection[str]
    by_hand: Collection[str]
    defaults: Collection[str]
    password_asked: bool
    plain: Collection[Problem]
    render: Callable[[], str]
    failures: list[Problem] = field(default_factory=list)
    default_failures: list[Problem] = field(default_factory=list)


def check_host(specs: Mapping[str, Options], host: Host) -> list[Problem]:
    """Return all problems of a host, one for each value.

    A wrong value often breaks several rules, and so do the defaults that follow it; only the first problem
    is returned.
    """
    found: list[Problem] = []
    _add(found, host.failures)
    for options in specs.values():
        # A default has the right shape, unless it follows a variable that has not.
        set_options = {name: option for name, option in options.items() if name not in host.defaults}
        _add(found, check_shapes(set_options, host.values))
    _add(found, check_names(specs, host.names, host.by_hand))
    for rule in (
        check_connection,
        check_reach,
        check_networks,
        check_listen,
        check_wifi,
        check_firewall,
        check_settings,
    ):
        _add(found, rule(host.values))
    _add(found, check_sudo(host.values, asked_for=host.password_asked))
    _add(found, _check_rendered(host, quiet=bool(found)))
    _add(found, host.plain)
    if not found:
        _add(found, host.default_failures)
    return found


def _check_rendered(host: Host, *, quiet: bool) -> Iterable[Problem]:
    try:
        rendered = host.render()
    except Exception as error:
        # If a problem was found before, that is the reason.
        return (
            [] if quiet else [problem("concentrator_meters", f"can't be written as configuration: {error}")]
        )
    return check_configuration(rendered, zones_are_default="concentrator_zones" in host.defaults)


def _add(found: list[Problem], more: Iterable[Problem]) -> None:
    for each in more:
        length = len(each.key)
        if not any(known.key[:length] == each.key[: len(known.key)] for known in found):
            found.append(each)
