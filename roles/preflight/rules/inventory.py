"""Check all Pis of a run against all rules, in parallel on this machine's processors."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

from ansible.parsing.dataloader import DataLoader
from roles.preflight.rules.encryption import check_encryption
from roles.preflight.rules.fleet import Identity, identify
from roles.preflight.rules.host import Host, check_host
from roles.preflight.rules.variables import CONNECTION, Roles, Variables

# Fewer hosts than this are checked faster than another process starts.
_HOSTS_A_PROCESS = 4


@dataclass(frozen=True, slots=True)
class Checked:
    """The result for one Pi.

    problems: printable lines. identity: the values that have to be unique. configuration: the file that it
    should have; empty if there are problems.
    """

    problems: list[str]
    identity: Identity
    configuration: str


def check_one(
    host: str, raw: Mapping[str, Any], roles: Roles, loader: DataLoader, *, password_asked: bool
) -> Checked:
    """Check one Pi's untemplated variables against all rules."""
    variables = Variables(host, raw, roles, loader)
    variables.resolve([*CONNECTION, *roles.variables])
    render = cache(variables.render)
    problems = check_host(
        roles.specs,
        Host(
            values=variables.values,
            names=list(raw),
            plain=list(check_encryption(variables)),
            by_hand=variables.by_hand(),
            defaults=[name for name in roles.variables if variables.is_default(name)],
            password_asked=password_asked,
            render=render,
            failures=variables.failures,
            default_failures=variables.default_failures,
        ),
    )
    lines = [variables.line(problem) for problem in problems]
    identity = identify(host, variables.values, variables.places())
    return Checked(lines, identity, "" if problems else render())


def check_all(hosts: Sequence[str], check: Callable[[str], Checked]) -> dict[str, Checked]:
    """Return the result of `check` for each host, in the same order; fork this process if that is faster."""
    processes = min(len(os.sched_getaffinity(0)), len(hosts) // _HOSTS_A_PROCESS)
    if processes < 2:
        return {host: check(host) for host in hosts}
    # Forks share this process's inventory; only the results are sent.
    pool = get_context("fork").Pool(processes, _begin, (check,))
    with pool:
        answers: Iterable[Checked] = pool.map(_check, hosts)
        # After a success they end by themselves.
        pool.close()
        pool.join()
    return dict(zip(hosts, answers, strict=True))


_check_here: Callable[[str], Checked]


def _begin(check: Callable[[str], Checked]) -> None:
    global _check_here  # noqa: PLW0603 - a pool's initializer has nowhere else to keep its argument.
    _check_here = check
    # Ansible's own handler, which a fork inherits, would end the parent's whole process group.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _check(host: str) -> Checked:
    return _check_here(host)
