"""Errors that end a command."""

import argparse

import pytest

from smart_meter.cli.main import main


def test_an_interrupt_stops_a_command_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("smart_meter.cli.commands.check_config.execute", interrupted)
    assert main(["check-config", "x"]) == 130
    assert capsys.readouterr().err == ""
