"""How many samples an address may store of one meter."""

import math

from smart_meter.meters.budget import KEPT_SECONDS, MAX_OWN, Budgets


def spend(budgets: Budgets, client: int, count: int) -> int:
    """Store samples; return how many were allowed."""
    allowed = 0
    for _ in range(count):
        budget = budgets.of(client, 0.0)
        budget.left -= 1.0
        allowed += budget.left >= 0.0
    return allowed


def test_a_minutes_worth_may_come_at_once_and_then_so_many_a_second() -> None:
    budgets = Budgets(10, 0.0)
    assert spend(budgets, 7, 1000) == 600
    budgets.refill(1.0)
    assert spend(budgets, 7, 1000) == 10
    budgets.refill(1.5)
    assert spend(budgets, 7, 1000) == 5
    budgets.refill(1000.0)
    assert spend(budgets, 7, 1000) == 600


def test_less_than_one_a_second_is_saved_up() -> None:
    budgets = Budgets(0.5, 0.0)
    assert spend(budgets, 7, 100) == 30
    budgets.refill(1.0)
    assert not budgets.allows(7)
    budgets.refill(2.0)
    assert budgets.allows(7)


def test_a_budget_always_holds_one_sample() -> None:
    budgets = Budgets(0.001, 0.0)
    assert spend(budgets, 7, 5) == 1
    budgets.refill(1000.0)
    assert budgets.allows(7)


def test_each_of_four_addresses_has_a_budget_and_all_others_share_one() -> None:
    budgets = Budgets(10, 0.0)
    assert [spend(budgets, client, 1000) for client in range(1, MAX_OWN + 1)] == [600] * MAX_OWN
    assert spend(budgets, 99, 500) == 500
    assert spend(budgets, 98, 500) == 100
    assert spend(budgets, 0, 500) == 0
    assert not any(budgets.allows(client) for client in (1, 98, 99, 100, 0))


def test_an_address_that_has_no_budget_yet_is_allowed_one_sample_while_there_are_any() -> None:
    budgets = Budgets(10, 0.0)
    assert budgets.allows(5)
    assert budgets.own == {}


def test_an_address_keeps_its_budget_until_it_is_silent_for_a_day() -> None:
    budgets = Budgets(10, 0.0)
    for client in (1, 2):
        spend(budgets, client, 1)
    budgets.refill(1.0)
    spend(budgets, 2, 1)
    budgets.refill(KEPT_SECONDS)
    assert list(budgets.own) == [1, 2]
    budgets.refill(KEPT_SECONDS + 1)
    assert list(budgets.own) == [2]


def test_without_a_rate_there_is_no_limit() -> None:
    budgets = Budgets(0, 0.0)
    assert spend(budgets, 7, 100_000) == 100_000
    budgets.refill(1.0)
    assert budgets.of(7, 1.0).left == math.inf


def test_another_rate_applies_to_what_is_left() -> None:
    budgets = Budgets(0, 0.0)
    spend(budgets, 7, 1)
    budgets.use_rate(10)
    assert spend(budgets, 7, 1000) == 600
    budgets.use_rate(20)
    assert spend(budgets, 7, 1000) == 0
    budgets.use_rate(0)
    budgets.refill(1.0)
    assert spend(budgets, 7, 1000) == 1000
