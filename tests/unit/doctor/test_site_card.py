"""Which came last, the card or the inventory, and what lies on the boot partition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.site_card.sample import VirtualPi, card, data

from smart_meter.doctor import site_card
from smart_meter.doctor.check import Check, Level
from smart_meter.site_card.apply import apply

CONFIG = "/etc/smart-meter/config.toml"
RECORD = "/var/lib/smart-meter-card/applied.json"


@pytest.fixture
def pi(tmp_path: Path) -> VirtualPi:
    pi = VirtualPi(tmp_path)
    pi.put(data())
    apply(pi.boot, pi.root, pi.run, pi.numbers)
    record = json.loads(pi.text(RECORD))
    pi.write(RECORD, json.dumps({**record, "applied": 1_795_720_000.0}))
    return pi


def judged(pi: VirtualPi) -> Check:
    check = site_card.judge(site_card.collect(pi.boot, pi.root))
    assert check is not None
    return check


def test_a_pi_that_never_had_a_card_has_no_check(tmp_path: Path) -> None:
    assert site_card.judge(site_card.collect(tmp_path, tmp_path)) is None


def test_the_card_came_last(pi: VirtualPi) -> None:
    check = judged(pi)

    assert (check.level, check.found) == (
        Level.OK,
        "last was the card of pi-north, 2026-11-26T19:06:40+00:00",
    )


def test_the_inventory_came_last(pi: VirtualPi) -> None:
    pi.write(CONFIG, "# by make configure\n")

    check = judged(pi)

    assert check.level is Level.OK
    assert check.found.startswith(
        f"last was the inventory, or somebody on the Pi: {CONFIG} changed since the card of pi-north"
    )


def test_new_rules_of_the_firewall_count_too(pi: VirtualPi) -> None:
    pi.write("/etc/ufw/user.rules", "")

    assert "/etc/ufw/user.rules changed since" in judged(pi).found


def test_many_changed_files_are_counted(pi: VirtualPi) -> None:
    for path in json.loads(pi.text(RECORD))["files"]:
        pi.write(path, "x")

    assert " more changed since the card" in judged(pi).found


def test_without_its_card_on_the_boot_partition_it_still_counts(pi: VirtualPi) -> None:
    (pi.boot / "site-card.toml").unlink()

    assert judged(pi).found.startswith("last was the card of pi-north")


@pytest.mark.parametrize("content", [data(card(timezone="Etc/UTC")), b"torn"])
def test_a_card_that_is_not_applied_is_a_warning(pi: VirtualPi, content: bytes) -> None:
    pi.put(content)

    check = judged(pi)

    assert check.level is Level.WARNING
    assert "is not applied; last was the card of pi-north" in check.found
    assert "site-card-answer.txt" in check.fix


def test_a_full_boot_partition_is_a_warning(pi: VirtualPi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_card, "is_full", lambda _: True)

    check = judged(pi)

    assert check.level is Level.WARNING
    assert check.found.startswith("the boot partition is full; last was the card of pi-north")


def test_a_card_with_another_name_is_a_warning(pi: VirtualPi) -> None:
    (pi.boot / "site-card (1).toml").write_bytes(data())

    check = judged(pi)

    assert check.level is Level.WARNING
    assert check.found.startswith(
        '"site-card (1).toml" on the boot partition is not read; last was the card of pi-north'
    )
    assert "delete it: it may have secrets" in check.fix


def test_a_card_with_another_name_is_a_warning_also_on_a_pi_that_never_had_one(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/smart-meter-site-card.service").touch()
    for number in range(5):
        (tmp_path / f"site-card.toml ({number}).txt").write_bytes(data())

    check = site_card.judge(site_card.collect(tmp_path, tmp_path))

    assert check is not None
    assert check.found.endswith('(2).txt" and 2 more on the boot partition is not read; none was applied')


@pytest.mark.parametrize("name", ["custom.toml", "site-card.toml"])
def test_a_pi_that_takes_no_cards_has_no_check(tmp_path: Path, name: str) -> None:
    """Raspberry Pi Imager writes custom.toml."""
    (tmp_path / name).write_bytes(data())

    assert site_card.judge(site_card.collect(tmp_path, tmp_path)) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5.0, "1970-01-01T00:00:05+00:00"), (1e300, "at an unknown"), (float("nan"), "at an unknown")],
)
def test_any_clock_can_be_shown(pi: VirtualPi, seconds: float, expected: str) -> None:
    record = json.loads(pi.text(RECORD))
    pi.write(RECORD, json.dumps({**record, "applied": seconds}))

    assert expected in judged(pi).found


def test_secrets_that_could_not_be_removed_are_a_warning(pi: VirtualPi) -> None:
    pi.put(data())

    check = judged(pi)

    assert check.level is Level.WARNING
    assert check.found.endswith("still has secrets: passphrase, password")


def test_a_secret_that_was_nowhere_is_a_warning(pi: VirtualPi) -> None:
    (pi.root / "etc/NetworkManager/system-connections/smart-meter-field.nmconnection").unlink()
    (pi.root / "var/lib/smart-meter-guard/profiles/smart-meter-field.nmconnection").unlink()
    (pi.root / RECORD.lstrip("/")).unlink()
    apply(pi.boot, pi.root, pi.run, pi.numbers)

    check = judged(pi)

    assert check.level is Level.WARNING
    assert "passphrase: neither the card nor the Pi has it, so the field zone has no Wi-Fi" in check.found


def test_a_passphrase_of_the_inventory_is_no_longer_lacking(pi: VirtualPi) -> None:
    field = "/etc/NetworkManager/system-connections/smart-meter-field.nmconnection"
    text = pi.text(field)
    (pi.root / field.lstrip("/")).unlink()
    (pi.root / "var/lib/smart-meter-guard/profiles/smart-meter-field.nmconnection").unlink()
    (pi.root / RECORD.lstrip("/")).unlink()
    apply(pi.boot, pi.root, pi.run, pi.numbers)
    pi.write(field, text.replace("psk=", "psk=of-the-inventory-"))

    assert judged(pi).level is Level.OK
    apply(pi.boot, pi.root, pi.run, pi.numbers)
    assert pi.answer.startswith("The site card of pi-north was applied.\n")


def test_another_user_than_root_may_not_read_the_boot_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *limit: int, follow: bool = True) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(site_card, "read_small", denied)

    assert site_card.collect(tmp_path, tmp_path) is None


def test_another_user_than_root_may_not_know() -> None:
    check = site_card.judge(None)

    assert check is not None
    assert check.level is Level.UNKNOWN
