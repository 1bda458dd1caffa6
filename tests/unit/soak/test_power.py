"""What the power cuts' figures mean, and whose leftovers are removed."""

import pytest
from soak.power import Tally, judge
from soak.power_disk import PREFIX, owner

CONTROL = Tally(cuts=5, acknowledged=800, lost=800)


def _honoured() -> Tally:
    return Tally(cuts=50, acknowledged=9000, renames=5)


def test_cuts_pass_if_only_the_control_lost_samples() -> None:
    outcome = judge(_honoured(), CONTROL)
    assert outcome.failures == ()
    assert outcome.often.startswith("50 cuts, 5 with a renamed history file; 9,000 acknowledged samples; ")
    assert outcome.lost.startswith("0 acknowledged samples; 0 damaged files or file systems; ")
    assert outcome.lost.endswith("800 of 800")


def test_a_control_that_loses_nothing_fails() -> None:
    outcome = judge(_honoured(), Tally(cuts=5, acknowledged=800))
    assert outcome.failures == ("the control lost nothing, so the other cuts prove nothing",)


def test_every_start_has_to_stay_in_the_audit_trail_if_there_is_one() -> None:
    tally = _honoured()
    tally.starts = 50
    outcome = judge(tally, CONTROL)
    assert outcome.failures == ()
    assert "; 0 of 50 starts in the audit trail; " in outcome.lost
    assert "audit trail" not in judge(_honoured(), CONTROL).lost
    tally.starts, tally.lost_starts = 49, 2
    assert judge(tally, CONTROL).failures == (
        "49 of 50 starts in the audit trail",
        "2 starts lost from the trail",
    )


@pytest.mark.parametrize(
    ("field", "value", "failure"),
    [
        ("lost", 1, "1 acknowledged sample lost"),
        ("torn", 2, "2 stored samples with a wrong check value"),
        ("wrong", 1, "1 wrong reply"),
        ("not_restored", 3, "last values not restored 3 times"),
        ("acknowledged", 50, "hardly any sample was acknowledged"),
        ("problems", ["history.db: row 3 missing from index"], "history.db: row 3 missing from index"),
    ],
)
def test_whatever_must_not_happen_with_flushes_honoured_fails(
    field: str, value: int | list[str], failure: str
) -> None:
    tally = _honoured()
    setattr(tally, field, value)
    assert judge(tally, CONTROL).failures == (failure,)


def test_only_names_of_runs_have_an_owner() -> None:
    assert owner(f"{PREFIX}4711-x9_") == 4711
    assert owner(f"/{PREFIX}4711-x9_ (deleted)") == 4711
    assert owner("card.img") is None
    assert owner(f"{PREFIX}x") is None
