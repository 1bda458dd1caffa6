"""The release before and this one on the same history; `make history-upgrade` does it with 1 GiB."""

import pytest

from tests.history_upgrade import NoRepositoryError, Result, trial


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    try:
        return trial(tmp_path_factory.mktemp("upgrade"), 4)
    except NoRepositoryError as error:
        pytest.skip(f"the release before can't be built: {error}")


def test_an_upgrade_a_rollback_and_an_upgrade_lose_no_row_and_quarantine_nothing(result: Result) -> None:
    assert result.filled > 50_000
    assert (result.lost, result.quarantined) == (0, 0)


def test_each_release_serves_the_last_values_of_the_other(result: Result) -> None:
    assert all(step.restored for step in result.steps)


def test_reads_are_answered_while_the_file_is_changed(result: Result) -> None:
    assert all(step.reads > 100 and step.slowest < 1 for step in result.steps)
