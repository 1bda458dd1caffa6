"""Many Pis are checked in forks of one process, few in the process itself."""

from __future__ import annotations

import os

import pytest
from roles.preflight.rules.fleet import Identity
from roles.preflight.rules.inventory import Checked, check_all


def checked(host: str) -> Checked:
    """Return in which process a host was checked."""
    identity = Identity(host, "", "", "", "", "", "", "", True, {})
    return Checked([f"{host} in {os.getpid()}"], identity, "")


def test_many_are_checked_elsewhere_and_come_back_in_the_inventorys_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    hosts = [f"pi-{number}" for number in range(20, 0, -1)]

    found = check_all(hosts, checked)

    assert list(found) == hosts
    assert [found[host].identity.name for host in hosts] == hosts
    assert not [one for one in found.values() if one.problems[0].endswith(f" in {os.getpid()}")]


def test_few_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    found = check_all(["pi-2", "pi-1"], checked)

    assert [one.problems for one in found.values()] == [
        [f"pi-2 in {os.getpid()}"],
        [f"pi-1 in {os.getpid()}"],
    ]


def test_what_goes_wrong_in_a_fork_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def broken(host: str) -> Checked:
        raise KeyError(f"no {host}")

    with pytest.raises(KeyError, match="no pi-"):
        check_all([f"pi-{number}" for number in range(8)], broken)
