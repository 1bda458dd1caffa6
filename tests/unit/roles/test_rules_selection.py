"""Whether a run reaches any Pi: the group of the playbooks, and what --limit leaves of it."""

from __future__ import annotations

import pytest
from roles.preflight.rules.selection import judge_group, judge_limit

NORTH, SOUTH = ["pi-north", "pi-north-2"], ["pi-south"]
GROUPS = {
    "all": [*NORTH, *SOUTH, "printer"],
    "ungrouped": [],
    "smart_meters": [*NORTH, *SOUTH],
    "site_north": NORTH,
    "site_south": SOUTH,
    "site_new": [],
    "office": ["printer"],
}


def test_an_inventory_with_a_pi_is_good() -> None:
    assert judge_group(GROUPS, "hosts.yml") is None


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("smart_meter", "---\nall:\n  children:\n    smart_meter:\n", "hosts:4"),
        ("Smart_Meters", "[Smart_Meters]\npi-north\n", "hosts:1"),
        ("smartmeters", 'x:\n"smartmeters":\n', "hosts:2"),
        ("smart-meters", "by a program", "hosts"),
    ],
)
def test_a_misspelt_group_is_named_with_its_line(name: str, text: str, place: str) -> None:
    assert judge_group({"all": NORTH, name: NORTH}, "hosts", text.splitlines()) == (
        f"{place}: there is no group smart_meters, on which every playbook runs; "
        f"rename {name} to smart_meters"
    )


def test_an_inventory_without_any_group_like_it_gets_no_guess() -> None:
    tried: list[dict[str, list[str]]] = [{}, {"all": [], "ungrouped": []}, {"all": NORTH, "pis": NORTH}]
    for groups in tried:
        message = judge_group(groups, "hosts", ["pis:"])
        assert message == (
            "hosts: there is no group smart_meters, on which every playbook runs; make the sites' groups "
            "its children"
        )


def test_an_empty_group_is_reported_with_the_groups_that_are_not_below_it() -> None:
    empty: dict[str, list[str]] = {"all": [], "smart_meters": [], "site_new": []}
    message = judge_group(empty, "hosts")
    assert message
    assert message.startswith(
        "hosts: the group smart_meters has no hosts; add a Pi to the hosts of smart_meters"
    )
    assert "not below it" not in message
    beside = judge_group({**empty, "all": NORTH, "site_north": NORTH}, "hosts")
    assert beside
    assert beside.endswith("; site_north with hosts is not below it")


@pytest.mark.parametrize(
    "limit",
    [
        "pi-north",
        "all",
        "site_north",
        "pi-*",
        "~pi-(north|south)$",
        "pi-north,localhost",
        "pi-north[0]",
        "smart_meters[0:1]",
        "smart_meters,!pi-north",
        "!pi-north",
        "!smart_meters[0]",
        "&site_north",
        "all,&site_north,!pi-north-2",
        "pi-north,site_new",
        "*outh",
    ],
)
def test_a_limit_that_leaves_a_pi_is_good(limit: str) -> None:
    assert judge_limit(GROUPS, limit, limit.split(","), "hosts") is None


@pytest.mark.parametrize(
    ("limit", "word", "fix"),
    [
        ("pi-nroth", "pi-nroth", "; did you mean pi-north?"),
        ("PI-NORTH", "PI-NORTH", "; did you mean pi-north?"),
        ("pi-north,pi-suoth", "pi-suoth", "; did you mean pi-south?"),
        ("all,!site_nroth", "site_nroth", "; did you mean site_north?"),
        ("&site_suoth", "site_suoth", "; did you mean site_south?"),
        ("10.0.0.*", "10.0.0.*", "; hosts has pi-north, pi-north-2, pi-south"),
        ("~x+", "~x+", "; hosts has pi-north, pi-north-2, pi-south"),
    ],
)
def test_a_part_of_a_limit_that_matches_nothing_is_named(limit: str, word: str, fix: str) -> None:
    assert judge_limit(GROUPS, limit, limit.split(","), "hosts") == (
        f'--limit "{limit}": no host and no group of hosts matches "{word}"{fix}'
    )


@pytest.mark.parametrize(
    "limit",
    ["printer", "office", "site_new", "localhost", "!smart_meters", "site_north,&site_south", "pi-*,!pi-*"],
)
def test_a_limit_that_leaves_no_pi_is_refused(limit: str) -> None:
    assert judge_limit(GROUPS, limit, limit.split(","), "hosts") == (
        f'--limit "{limit}": selects no Pi of the group smart_meters; '
        "hosts has pi-north, pi-north-2, pi-south there"
    )


def test_an_empty_limit_does_not_mean_every_pi() -> None:
    assert judge_limit(GROUPS, "", [], "hosts") == (
        '--limit "": is empty; name Pis or groups of hosts, or leave --limit out'
    )


def test_of_many_pis_some_are_named() -> None:
    many = [f"pi-{number}" for number in range(100)]
    message = judge_limit({"all": many, "smart_meters": many}, "x*", ["x*"], "hosts")
    assert message
    assert message.endswith("; hosts has pi-0, pi-1, pi-10, pi-11, pi-12, and 95 more")
