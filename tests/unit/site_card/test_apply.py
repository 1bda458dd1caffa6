"""A card on a Pi: applied whole, once, or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from smart_meter.site_card import staging
from smart_meter.site_card.apply import Result, apply
from smart_meter.site_card.card import read
from smart_meter.site_card.places import BY_KEY
from tests.unit.site_card.sample import KEY, PASSPHRASE, PASSWORD, RULES, VirtualPi, card, data, edited, files
from tests.unit.site_card.starts import CONFIG, FIELD, RECORD, Os, applied, mode_of, refused, start


def test_without_a_card_nothing_happens(pi: VirtualPi) -> None:
    before = pi.state()

    assert start(pi).result is Result.ABSENT
    assert pi.state() == before
    assert list(pi.boot.iterdir()) == []
    assert pi.commands == []


def test_a_card_sets_every_file_with_the_programs_own_path_and_mode(pi: VirtualPi) -> None:
    applied(pi)

    for key, text in files().items():
        place = BY_KEY[key]
        wanted = text.replace("psk=@passphrase@", f"psk={PASSPHRASE}")
        assert pi.text(place.path) == wanted
        assert mode_of(pi, place.path) == place.mode
        if place.copy:
            assert pi.text(place.copy) == wanted
            assert mode_of(pi, place.copy) == 0o600


def test_each_file_gets_the_programs_own_owner(pi: VirtualPi, monkeypatch: pytest.MonkeyPatch) -> None:
    pi.write(
        "/etc/passwd", pi.text("/etc/passwd") + "smart-meter:x:990:980::/nonexistent:/usr/sbin/nologin\n"
    )
    pi.write("/etc/group", pi.text("/etc/group") + "smart-meter:x:980:\nshadow:x:42:\n")
    owners: dict[str, tuple[int, int]] = {}

    def chown(path: Path | int, user: int, group: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{path}")) if isinstance(path, int) else path
        # Nobody else can use it before it has its owner.
        assert place.stat().st_mode & 0o077 == 0
        owners[f"/{place.relative_to(pi.root)}".replace("/.", "/").removesuffix(".new")] = (user, group)

    recorder = Os(os.fsync)
    recorder.chown = recorder.fchown = chown  # type: ignore[attr-defined]
    monkeypatch.setattr(staging, "os", recorder)
    pi.write("/etc/authbind/byport/80", "of another user")
    pi.put(data())

    outcome = apply(pi.boot, pi.root, pi.run)

    assert outcome.result is Result.APPLIED, outcome.lines
    others = {path: owner for path, owner in owners.items() if owner != (0, 0)}
    assert others == {
        "/etc/smart-meter": (0, 980),
        CONFIG: (0, 980),
        "/etc/authbind/byport/502": (990, 980),
        "/etc/shadow": (0, 42),
        "/home/pi/ssh": (1000, 1000),
        "/home/pi/ssh/authorized_keys": (1000, 1000),
    }
    assert pi.has("/etc/authbind/byport/80")


def test_a_pi_without_the_services_user_is_refused(pi: VirtualPi) -> None:
    pi.put(data())
    before = pi.state()

    outcome = apply(pi.boot, pi.root, pi.run)

    assert outcome.result is Result.REFUSED
    assert "has no user root or no group smart-meter; flash the image again" in pi.answer
    assert {name for name in pi.state() if name not in before} == set()


def test_the_records_folder_is_for_root_only_also_if_the_image_has_made_it(pi: VirtualPi) -> None:
    (pi.root / RECORD.lstrip("/")).parent.mkdir(parents=True, mode=0o755)

    applied(pi)

    assert mode_of(pi, os.path.dirname(RECORD)) == 0o700


def test_a_card_sets_names_time_zone_login_and_port(pi: VirtualPi) -> None:
    applied(pi)

    assert pi.text("/etc/hosts") == "127.0.0.1\tlocalhost\n127.0.1.1\tpi-north\n"
    assert os.readlink(pi.root / "etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert pi.text("/home/pi/.ssh/authorized_keys") == f"{KEY}\n"
    assert mode_of(pi, "/home/pi/.ssh/authorized_keys") == 0o600
    assert mode_of(pi, "/home/pi/.ssh") == 0o700
    assert f"pi:{PASSWORD}:19000:0:99999:7:::" in pi.text("/etc/shadow")
    assert pi.text("/etc/shadow").startswith("root:*:19000")
    assert mode_of(pi, "/etc/shadow") == 0o640
    assert mode_of(pi, "/etc/authbind/byport/502") == 0o500
    assert not pi.has("/etc/sudoers.d/90-smart-meter-card")


def test_a_card_sets_the_firewall_in_a_copy_that_ufw_writes(pi: VirtualPi) -> None:
    pi.write("/etc/ufw/user.rules", "ufw allow 22/tcp comment 'old'\n")

    applied(pi)

    assert sorted(pi.text("/etc/ufw/user.rules").splitlines()) == sorted(RULES)
    assert "ENABLED=yes" in pi.text("/etc/ufw/ufw.conf")
    assert not pi.has("/run/smart-meter-card")
    assert ["--force", "delete", "allow", "22/tcp"] in [command[3:] for command in pi.commands]


def test_bytes_that_are_not_utf8_in_the_pis_files_stay(pi: VirtualPi) -> None:
    for path in ("/etc/hosts", "/etc/shadow", "/etc/ufw/ufw.conf"):
        place = pi.root / path.lstrip("/")
        place.write_bytes(place.read_bytes().replace(b"=yes", b"=no") + b"# M\xfcller\n")

    applied(pi)

    for path in ("/etc/hosts", "/etc/shadow", "/etc/ufw/ufw.conf"):
        assert b"# M\xfcller\n" in (pi.root / path.lstrip("/")).read_bytes()


def test_a_disabled_firewall_is_enabled(pi: VirtualPi) -> None:
    pi.write("/etc/ufw/ufw.conf", "ENABLED=no\n")

    applied(pi)

    assert pi.text("/etc/ufw/ufw.conf") == "ENABLED=yes\n"


def test_a_unit_is_enabled_by_its_link(pi: VirtualPi) -> None:
    applied(pi)

    wants = pi.root / "etc/systemd/system/multi-user.target.wants/smart-meter-wifi.service"
    assert os.readlink(wants) == "/etc/systemd/system/smart-meter-wifi.service"


def test_secrets_are_removed_and_nothing_shows_them(pi: VirtualPi) -> None:
    pi.put(data())

    outcome = start(pi)

    assert read(pi.card).secrets == {}
    shown = " ".join(
        [*outcome.lines, pi.answer, pi.text(RECORD), *(" ".join(words) for words in pi.commands)]
    )
    for secret in (PASSPHRASE, PASSWORD, "correct"):
        assert secret not in shown
        assert secret.encode() not in pi.card
    assert mode_of(pi, RECORD) == 0o600


def test_the_old_content_of_the_card_is_overwritten_where_it_was(pi: VirtualPi) -> None:
    pi.put(data())
    os.link(pi.boot / "site-card.toml", pi.boot / "blocks")

    start(pi)

    assert (pi.boot / "blocks").read_bytes() == bytes(len(data()))


def test_the_answer_is_for_people(pi: VirtualPi) -> None:
    assert applied(pi).answer.startswith("The site card of pi-north was applied.\n")


def test_a_card_is_applied_once(pi: VirtualPi) -> None:
    applied(pi)
    pi.write(CONFIG, "# by make configure\n")
    before, card_before = pi.state(), pi.card

    outcome = start(pi)

    assert outcome.result is Result.UNCHANGED
    assert pi.state() == before
    assert pi.card == card_before


def test_the_same_card_with_its_secrets_again_is_not_applied_and_they_are_removed(pi: VirtualPi) -> None:
    applied(pi)
    pi.write(CONFIG, "# by make configure\n")
    pi.put(data())

    assert start(pi).result is Result.UNCHANGED
    assert pi.text(CONFIG) == "# by make configure\n"
    assert read(pi.card).secrets == {}


def test_a_changed_card_is_applied_and_keeps_the_passphrase(pi: VirtualPi) -> None:
    applied(pi)
    changed = replace(edited("config", 'name = "RPI#1"', 'name = "RPI#2"'), secrets={})
    pi.put(data(changed))

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert outcome.changed == (CONFIG,)
    assert 'name = "RPI#2"' in pi.text(CONFIG)
    assert f"psk={PASSPHRASE}" in pi.text(FIELD)
    assert PASSWORD in pi.text("/etc/shadow")


def test_secrets_of_an_earlier_card_are_known_still(pi: VirtualPi) -> None:
    applied(pi)
    pi.put(data(card(timezone="Etc/UTC", secrets={})))
    assert start(pi).result is Result.APPLIED

    pi.put(data(card(timezone="Etc/UTC")))

    assert start(pi).result is Result.UNCHANGED


def test_a_file_that_others_may_read_is_corrected(pi: VirtualPi) -> None:
    applied(pi)
    (pi.root / FIELD.lstrip("/")).chmod(0o644)
    pi.put(data(card(timezone="Etc/UTC")))

    assert FIELD in start(pi).changed
    assert mode_of(pi, FIELD) == 0o600


def test_a_link_in_the_place_of_the_folder_for_keys_is_refused(pi: VirtualPi) -> None:
    (pi.root / "etc/cron.d").mkdir()
    (pi.root / "home/pi/.ssh").symlink_to(pi.root / "etc/cron.d")

    assert "login.keys: /home/pi/.ssh is a link" in refused(pi, data())


def test_a_card_with_another_passphrase_only_is_another_card(pi: VirtualPi) -> None:
    applied(pi)
    pi.put(data(card(secrets={"passphrase": "staple-battery"})))

    assert start(pi).result is Result.APPLIED
    assert "psk=staple-battery" in pi.text(FIELD)
    # The first card counts as another one now.
    pi.put(data())
    assert start(pi).result is Result.APPLIED
    assert f"psk={PASSPHRASE}" in pi.text(FIELD)


def test_the_passphrase_stays_also_if_only_the_guard_has_its_profile(pi: VirtualPi) -> None:
    applied(pi)
    (pi.root / FIELD.lstrip("/")).unlink()
    pi.put(data(card(secrets={}, timezone="Etc/UTC")))

    assert start(pi).result is Result.APPLIED
    assert f"psk={PASSPHRASE}" in pi.text(FIELD)


def test_a_passphrase_that_the_pi_does_not_have_either_costs_the_wifi_only(pi: VirtualPi) -> None:
    """After the loss of the state partition, the card on the boot partition has no secrets any more."""
    pi.put(data(card(secrets={"password": PASSWORD})))

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert "so the field zone has no Wi-Fi" in outcome.lines[1]
    assert "secrets.passphrase: neither the card nor the Pi has it" in pi.answer
    assert not pi.has(FIELD)
    assert pi.has(BY_KEY["control_profile"].path)
    assert pi.text("/etc/hostname") == "pi-north\n"
    assert start(pi).result is Result.UNCHANGED
    # A card with the passphrase completes it.
    pi.put(data())
    assert start(pi).result is Result.APPLIED
    assert f"psk={PASSPHRASE}" in pi.text(FIELD)
    assert json.loads(pi.text(RECORD))["lacking"] == []
    assert "was applied.\n" in pi.answer


def test_a_password_that_the_pi_does_not_have_either_is_reported_if_sudo_asks_for_it(pi: VirtualPi) -> None:
    without = card(secrets={"passphrase": PASSPHRASE})
    pi.put(data(without))

    assert start(pi).result is Result.APPLIED
    assert "secrets.password: neither the card nor the Pi has it, so nobody can use sudo" in pi.answer
    pi.put(data(replace(without, sudo_asks=False)))
    assert start(pi).result is Result.APPLIED
    assert pi.answer.startswith("The site card of pi-north was applied.\n")
    assert pi.text("/etc/sudoers.d/90-smart-meter-card") == "pi ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert mode_of(pi, "/etc/sudoers.d/90-smart-meter-card") == 0o440


def test_files_that_a_card_leaves_out_are_removed(pi: VirtualPi) -> None:
    applied(pi)
    wired = "".join(
        line
        for line in files()["field_profile"].replace("type=wifi", "type=ethernet").splitlines(keepends=True)
        if not line.startswith(("[wifi", "mode=", "powersave", "ssid", "key-mgmt", "psk", "# "))
    )
    without = dict.fromkeys(("wifi_unit", "wifi_program", "wifi_country", "watchdog"))
    pi.put(data(card({**without, "field_profile": wired}, secrets={})))

    assert start(pi).result is Result.APPLIED
    for key in without:
        assert not pi.has(BY_KEY[key].path), key
    assert not pi.has("/etc/systemd/system/multi-user.target.wants/smart-meter-wifi.service")


def test_another_port_takes_the_permission_of_the_old_one(pi: VirtualPi) -> None:
    applied(pi)
    rules = [rule.replace("port 502", "port 1502") for rule in RULES]
    texts = {
        "config": files()["config"].replace("port = 502", "port = 1502"),
        "service": files()["service"]
        .replace("port 502:", "port 1502:")
        .replace("byport/502)", "byport/1502)"),
    }
    pi.put(data(card(texts, firewall=tuple(rules), secrets={})))

    outcome = start(pi)

    assert outcome.result is Result.APPLIED, outcome.lines
    assert [path.name for path in (pi.root / "etc/authbind/byport").iterdir()] == ["1502"]
