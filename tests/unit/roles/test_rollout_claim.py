"""Which run has claimed a Pi, and whether that run has ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from roles.concentrator.rollout.claim import Holder, has_ended, holder_in


def test_the_holder_is_read_from_the_scripts_words() -> None:
    said = "anna@laptop, process 7 holds this Pi for 840 s more\n"

    assert holder_in(said) == Holder("anna@laptop, process 7", 840)


def test_a_configuration_that_waits_has_no_holder() -> None:
    assert holder_in("the configuration from anna@laptop, process 7 is not confirmed there yet") is None


def test_a_run_of_this_controller_that_lives_has_not_ended() -> None:
    assert not has_ended(f"anna@laptop, process {os.getpid()}", "laptop")


def test_a_run_of_this_controller_whose_process_is_gone_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    assert has_ended(f"anna@laptop, process {process.pid}", "laptop")


@pytest.mark.parametrize("run", ["anna@elsewhere, process 1", "another run", ""])
def test_nothing_is_known_of_another_controllers_run(run: str) -> None:
    assert not has_ended(run, "laptop")
