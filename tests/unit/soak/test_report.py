"""The soak's table says what was lost, and loudly where that must not be."""

from soak.report import Ledger, Outcome, count, document, table


def test_a_row_is_as_wide_as_its_column() -> None:
    assert table(
        [Outcome("kills", "100", "nothing"), Outcome("clock", "4 steps", "nothing")]
    ).splitlines() == [
        "| what was tried | how often | what was lost |",
        "| -------------- | --------- | ------------- |",
        "| kills          | 100       | nothing       |",
        "| clock          | 4 steps   | nothing       |",
    ]


def test_what_must_not_be_lost_stands_first_in_its_cell() -> None:
    ledger = Ledger()
    ledger.expect(1 + 1 == 2, "sums")
    ledger.expect(not "full", "2 samples | missing")
    ledger.expect(not "full", "2 samples | missing")
    outcome = ledger.outcome("kills", "100", "3 lines")
    assert outcome.failures == ("2 samples | missing",)
    assert "| FAILED: 2 samples \\| missing; 3 lines |" in table([outcome])


def test_a_number_goes_with_its_noun() -> None:
    assert (count(1, "kill"), count(1000, "kill"), count(2, "try", "tries")) == (
        "1 kill",
        "1,000 kills",
        "2 tries",
    )


def test_the_page_names_the_seed_that_brings_the_same_frames_again() -> None:
    page = document([Outcome("kills", "100", "nothing")], "2 CPUs", 42, 90)
    assert "in 1.5 minutes, seed 42. 2 CPUs." in page
    assert page.endswith("| kills          | 100       | nothing       |\n")
