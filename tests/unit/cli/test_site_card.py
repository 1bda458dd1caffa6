"""`smart-meter site-card`."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_meter.cli.main import main
from tests.unit.site_card.sample import PASSPHRASE, card, data


def test_check_reports_a_good_card_without_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "site-card.toml"
    path.write_bytes(data())

    assert main(["site-card", "check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "ok, the card of pi-north; zones: field 192.168.1.100/24, control 192.168.2.100/24" in printed
    assert PASSPHRASE not in printed


def test_check_reports_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site-card.toml"
    path.write_bytes(data(card({"kernel": "x\n", "host_name": "a b\n"})))

    assert main(["site-card", "check", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["site-card", "check", str(tmp_path / "none")]) == 2


def test_apply_without_a_card_is_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site-card", "apply", "--folder", str(tmp_path), "--root", str(tmp_path)]) == 0
    assert "there is no site-card.toml" in capsys.readouterr().out


def test_apply_fails_if_the_card_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site-card.toml").write_bytes(data()[:-9])

    assert main(["site-card", "apply", "--folder", str(tmp_path), "--root", str(tmp_path)]) == 1
    assert "The site card was refused" in capsys.readouterr().err
    assert (tmp_path / "site-card-answer.txt").exists()
