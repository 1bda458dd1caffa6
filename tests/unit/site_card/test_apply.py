"""A card on a Pi: applied whole, once, or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tools.image.state import mounts
from tools.image.state.places import Place

from smart_meter.site_card import staging
from smart_meter.site_card.apply import Outcome, Result, apply
from smart_meter.site_card.card import MAX_BYTES, Card, canonical, read, without_secrets
from smart_meter.site_card.places import BY_KEY
from tests.unit.site_card.sample import (
    KEY,
    PASSPHRASE,
    PASSWORD,
    RULES,
    VirtualPi,
    card,
    data,
    edited,
    files,
)

FIELD = BY_KEY["field_profile"].path
CONFIG = BY_KEY["config"].path
RECORD = "/var/lib/smart-meter-card/applied.json"


@pytest.fixture
def pi(tmp_path: Path) -> VirtualPi:
    return VirtualPi(tmp_path)


def start(pi: VirtualPi) -> Outcome:
    return apply(pi.boot, pi.root, pi.run, pi.numbers)


def applied(pi: VirtualPi) -> VirtualPi:
    pi.put(data())
    outcome = start(pi)
    assert outcome.result is Result.APPLIED, outcome.lines
    return pi


def refused(pi: VirtualPi, content: bytes) -> str:
    """Start with a card that must be refused, and return the answer."""
    pi.put(content)
    before = pi.state()
    outcome = start(pi)
    assert outcome.result is Result.REFUSED, outcome.lines
    assert pi.state() == before
    return pi.answer


def mode_of(pi: VirtualPi, path: str) -> int:
    return stat.S_IMODE((pi.root / path.lstrip("/")).stat().st_mode)


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

    recorder = _Full(os.fsync)
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
    pi.put(data().replace(b"\n", b"\r\n"))

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


def test_a_failure_between_two_renames_is_reported_as_such(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())
    renames = iter(range(5))

    def rename(old: Path, new: Path) -> None:
        if next(renames, None) is None:
            raise OSError(errno.EIO, "Input/output error", str(new))
        os.replace(old, new)

    failing = _Full(os.fsync)
    failing.rename = rename  # type: ignore[attr-defined]
    monkeypatch.setattr(staging, "os", failing)

    assert start(pi).result is Result.REFUSED
    assert pi.answer.startswith("The site card could not be applied completely: some files are new.\n")
    assert "Input/output error; the next start applies the card again" in pi.answer
    assert not list(pi.root.rglob(".*.new"))
    monkeypatch.undo()
    assert start(pi).result is Result.APPLIED


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


def of_another_user() -> Card:
    """Return a card with a login user that the Pi does not have."""
    texts = {"sshd": files()["sshd"].replace("AllowUsers pi", "AllowUsers meter")}
    return card(texts, user="meter")


def test_a_pi_without_the_user_gets_it(pi: VirtualPi) -> None:
    pi.put(data(of_another_user()))

    outcome = start(pi)

    assert outcome.result is Result.APPLIED, outcome.lines
    assert pi.text("/home/meter/.ssh/authorized_keys") == f"{KEY}\n"
    assert f"meter:{PASSWORD}:19000" in pi.text("/etc/shadow")
    assert "pi:!:19000" in pi.text("/etc/shadow")


def test_a_user_that_cannot_be_created_changes_nothing(pi: VirtualPi) -> None:
    pi.fails = {"useradd": "no\nroom"}

    answer = refused(pi, data(of_another_user()))

    assert 'login.user: the user "meter" can\'t be created: no room' in answer
    assert not [command for command in pi.commands if command[0] == "userdel"]
    # It was created, and its home was not.
    pi.status = 12
    pi.put(data(of_another_user()))
    with suppress(FileNotFoundError):
        start(pi)
    assert pi.commands[-1] == ["userdel", "--remove", "meter"]


@pytest.mark.parametrize("program", ["sshd", "show added", "--datadir"])
def test_a_user_is_not_created_for_a_card_that_is_refused(pi: VirtualPi, program: str) -> None:
    pi.fails = {program: "no"}

    refused(pi, data(of_another_user()))

    assert not [command for command in pi.commands if command[0] == "useradd"]


@pytest.mark.parametrize("last", ["authorized_keys", "shadow", "applied.json"])
def test_a_user_that_was_created_does_not_stay_if_there_is_no_room_for_the_rest(
    pi: VirtualPi, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data(of_another_user()))
    before = pi.state()

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(f"/.{last}.new"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "os", _Full(fsync))

    assert start(pi).result is Result.REFUSED

    assert pi.state() == before
    assert pi.commands[-1] == ["userdel", "--remove", "meter"]
    assert "nothing was changed" in pi.answer
    monkeypatch.undo()
    assert start(pi).result is Result.APPLIED


def test_another_hosts_card_is_refused_once_the_pi_has_a_name(pi: VirtualPi) -> None:
    applied(pi)
    other = card(host="pi-south", files=card({"host_name": "pi-south\n"}).files)

    answer = refused(pi, data(other))

    assert 'host: "pi-south" is another Pi: this one is pi-north' in answer
    assert "make site-card HOST=pi-south REPLACES=pi-north" in answer
    pi.put(data(replace(other, replaces="pi-north")))
    assert start(pi).result is Result.APPLIED
    assert pi.text("/etc/hostname") == "pi-south\n"


def test_a_pi_that_the_inventory_has_named_takes_its_own_card_only(pi: VirtualPi) -> None:
    pi.write("/etc/hostname", "pi-east\n")

    assert "this one is pi-east" in refused(pi, data())
    pi.write("/etc/hostname", "pi-north\n")
    applied(pi)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (data()[:-20], "it was not copied completely"),
        (b"", "it was not copied completely"),
        (b"#" * (MAX_BYTES + 1), "is over 256 KiB long"),
        (b"format = 9\n", "format: 9 is newer"),
        (data(card({"kernel": "x\n"})), "files.kernel: is not a text"),
        (data(card(timezone="Mars/Base")), 'timezone: "Mars/Base" is not a time zone of this Pi'),
    ],
)
def test_a_bad_card_changes_nothing_and_gets_an_answer(pi: VirtualPi, content: bytes, expected: str) -> None:
    answer = refused(pi, content)

    assert answer.startswith("The site card was refused. The Pi goes on with its settings as they were.\n")
    assert expected in answer
    assert pi.card == content


def test_a_bad_card_leaves_the_settings_of_a_good_one(pi: VirtualPi) -> None:
    applied(pi)

    refused(pi, data()[:-20])
    pi.put(data())
    assert start(pi).result is Result.UNCHANGED


def test_after_a_good_card_the_answer_is_no_longer_that_of_the_bad_one(pi: VirtualPi) -> None:
    refused(pi, b"x")

    assert "was applied" in applied(pi).answer


def test_a_pipe_in_its_place_is_refused_without_waiting_for_it(pi: VirtualPi) -> None:
    os.mkfifo(pi.boot / "site-card.toml")
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(start(pi)), daemon=True)

    thread.start()
    thread.join(10)

    assert outcomes[0].result is Result.REFUSED
    assert "is not a file" in pi.answer


@pytest.mark.parametrize("target", ["/dev/zero", "other.toml"])
def test_a_link_in_its_place_is_refused(pi: VirtualPi, target: str) -> None:
    (pi.boot / "other.toml").write_bytes(data())
    (pi.boot / "site-card.toml").symlink_to(target)

    assert start(pi).result is Result.REFUSED
    assert "is not a file" in pi.answer


def test_a_folder_in_its_place_is_refused(pi: VirtualPi) -> None:
    (pi.boot / "site-card.toml").mkdir()

    assert start(pi).result is Result.REFUSED


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("sshd", "files.sshd: sshd refuses it: no"),
        ("show added", "firewall: ufw does not answer: no"),
        ("--datadir", "firewall: ufw refuses `allow in on wlan0"),
    ],
)
def test_a_program_that_refuses_changes_nothing(pi: VirtualPi, program: str, expected: str) -> None:
    pi.fails = {program: "no"}

    assert expected in refused(pi, data())


def test_a_folder_in_the_place_of_a_file_changes_nothing(pi: VirtualPi) -> None:
    (pi.root / "etc/ssh/sshd_config.d/10-smart-meter.conf").mkdir(parents=True)
    pi.put(data())

    assert start(pi).result is Result.REFUSED
    assert "10-smart-meter.conf is a folder; move it away" in pi.answer
    assert pi.text("/etc/hostname") == "smart-meter\n"


def reported_by_the_initrd(place: str, folder: Path) -> str:
    """Return the initrd's report of a place that can't be mounted from the state partition."""

    def no_room(*command: str) -> None:
        if "memory" not in " ".join(command):
            raise OSError(errno.ENOSPC, "No space left on device")

    problems: list[str] = []
    state, memory = folder / "state", folder / "memory"
    mounts.mount_all([Place("own", place)], state, memory, problems.append, no_room)
    return json.dumps({"kind": "state", "problems": problems})


@pytest.mark.parametrize("case", ["memory", "/etc"])
def test_a_card_whose_files_are_in_memory_only_keeps_its_secrets(
    pi: VirtualPi, case: str, tmp_path: Path
) -> None:
    pi.put(data())
    report = '{"kind": "memory"}' if case == "memory" else reported_by_the_initrd(case, tmp_path)
    pi.write("/run/smart-meter-image/state.json", report)

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert pi.card == data()
    assert "So the site card keeps its secrets" in outcome.lines[1]
    assert "The state partition can't be used" in pi.answer
    assert "were removed" not in pi.answer


@pytest.mark.parametrize("report", ["", "[]", "{}", '{"kind": "state", "problems": 1}', '{"kind": "spare"}'])
def test_any_other_report_of_the_initrd_lets_the_secrets_be_removed(pi: VirtualPi, report: str) -> None:
    pi.write("/run/smart-meter-image/state.json", report)

    assert read(applied(pi).card).secrets == {}


def full_at(number: int) -> Callable[[int], None]:
    """Return a function in place of fsync that has no room at its nth call."""
    calls = iter(range(number))

    def fsync(descriptor: int) -> None:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


@pytest.mark.parametrize("number", [0, 3, 12, 21])
def test_a_full_card_changes_nothing(pi: VirtualPi, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pi.put(data())
    before = pi.state()
    # Only the files on state: the FAT partition has room.
    monkeypatch.setattr(staging, "os", _Full(full_at(number)))

    outcome = start(pi)

    assert outcome.result is Result.REFUSED
    assert pi.state() == before
    assert "No space left on device; nothing was changed" in pi.answer


class _Full:
    """The module os with another fsync."""

    def __init__(self, fsync: Callable[[int], None]) -> None:
        self.fsync = fsync

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def test_a_power_cut_between_two_renames_is_made_up_for_at_the_next_start(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())
    with monkeypatch.context() as patch:
        renames = iter(range(5))

        def rename(old: Path, new: Path) -> None:
            if next(renames, None) is None:
                raise KeyboardInterrupt
            os.replace(old, new)

        cut = _Full(os.fsync)
        cut.rename = rename  # type: ignore[attr-defined]
        patch.setattr(staging, "os", cut)
        with pytest.raises(KeyboardInterrupt):
            start(pi)
    assert pi.text("/etc/hostname") == "pi-north\n"
    assert not pi.has(RECORD)

    assert start(pi).result is Result.APPLIED
    assert not list(pi.root.rglob(".*.new"))


def test_the_record_is_put_in_place_once_everything_else_is_on_the_card(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def rename(old: Path, new: Path) -> None:
        steps.append(f"/{new.relative_to(pi.root)}")
        os.replace(old, new)

    def fsync(descriptor: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if place.is_dir():
            steps.append(f"/{place.relative_to(pi.root)}/")

    watched = _Full(fsync)
    watched.rename = rename  # type: ignore[attr-defined]
    monkeypatch.setattr(staging, "os", watched)
    pi.put(data())

    assert start(pi).result is Result.APPLIED

    assert steps[-2:] == [RECORD, f"{os.path.dirname(RECORD)}/"]
    changed = {path for path in steps if not path.endswith("/") and path != RECORD}
    assert {f"{os.path.dirname(path)}/" for path in changed} <= set(steps[: steps.index(RECORD)])


def make_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for name in ("_write", "_overwrite"):
        monkeypatch.setattr(f"smart_meter.site_card.boot_partition.{name}", write)


def test_a_boot_partition_that_cannot_be_written_does_not_stop_the_card(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(data())

    make_read_only(monkeypatch)

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert "the boot partition can't be written (Read-only file system)" in outcome.lines[1]
    monkeypatch.undo()
    assert start(pi).result is Result.UNCHANGED
    assert read(pi.card).secrets == {}


def test_a_refusal_on_a_read_only_boot_partition_is_in_the_journal(
    pi: VirtualPi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi.put(b"x")

    make_read_only(monkeypatch)

    outcome = start(pi)

    assert outcome.result is Result.REFUSED
    assert "not copied completely" in outcome.lines[1]
    assert "so site-card-answer.txt is not up to date" in outcome.lines[2]


def test_an_interrupted_removal_of_secrets_is_finished(pi: VirtualPi) -> None:
    applied(pi)
    # The old content is overwritten already, and the new card is not in its place yet.
    (pi.boot / "site-card.toml.new").write_bytes(pi.card)
    pi.put(bytes(len(data())))

    assert start(pi).result is Result.UNCHANGED
    assert read(pi.card) == replace(card(), secrets={})
    assert not (pi.boot / "site-card.toml.new").exists()


def test_a_left_over_of_an_older_removal_does_not_replace_a_card(pi: VirtualPi) -> None:
    (pi.boot / "site-card.toml.new").write_text(without_secrets(canonical(data(card(timezone="Etc/UTC")))))

    applied(pi)

    assert os.readlink(pi.root / "etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert not (pi.boot / "site-card.toml.new").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"layout": 2}', '{"layout": 1, "host": 7}'])
def test_a_record_that_cannot_be_read_lets_the_card_be_applied_again(pi: VirtualPi, text: str) -> None:
    applied(pi)
    pi.write(RECORD, text)
    pi.put(data())

    assert start(pi).result is Result.APPLIED
    assert json.loads(pi.text(RECORD))["host"] == "pi-north"


def test_a_card_that_changes_nothing_else_is_recorded(pi: VirtualPi) -> None:
    applied(pi)
    (pi.root / RECORD.lstrip("/")).unlink()
    pi.put(data())

    outcome = start(pi)

    assert outcome.result is Result.APPLIED
    assert outcome.changed == ()
