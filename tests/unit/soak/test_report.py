"""The soak's table shows what was lost, and puts failures first."""

from soak.report import Ledger, Outcome, count, document, table


def test_columns_are_aligned() -> None:
    assert table(
        [Outcome("kills", "100", "nothing"), Outcome("clock", "4 steps", "nothing")]
    ).splitlines() == [
        "| what was tried | how often | what was lost |",
        "| -------------- | --------- | ------------- |",
        "| kills          | 100       | nothing       |",
        "| clock          | 4 steps   | nothing       |",
    ]


def test_failures_come_first_in_the_cell() -> None:
    ledger = Ledger()
    ledger.expect(1 + 1 == 2, "sums")
    ledger.expect(not "full", "2 samples | missing")
    ledger.expect(not "full", "2 samples | missing")
    outcome = ledger.outcome("kills", "100", "3 lines")
    assert outcome.failures == ("2 samples | missing",)
    assert "| FAILED: 2 samples \\| missing; 3 lines |" in table([outcome])


def test_a_count_is_followed_by_singular_or_plural() -> None:
    assert (count(1, "kill"), count(1000, "kill"), count(2, "try", "tries")) == (
        "1 kill",
        "1,000 kills",
        "2 tries",
    )


def test_the_page_names_the_seed() -> None:
    page = document([Outcome("kills", "100", "nothing")], "2 CPUs", 42, 90)
    assert "in 1.5 minutes, seed 42. 2 CPUs." in page
    assert page.endswith("| kills          | 100       | nothing       |\n")
