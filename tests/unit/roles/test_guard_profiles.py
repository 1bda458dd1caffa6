"""How smart-meter-guard keeps the zones' network profiles: its copies, and what would hide the profiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.roles.guarded import Machine

UUID = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03"
TEXT = f"[connection]\nid=smart-meter-control\nuuid={UUID}\n"
NAME = "smart-meter-control.nmconnection"


class Networked(Machine):
    """One whose zone has a profile that was confirmed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.profile = folder / "etc/NetworkManager/system-connections" / NAME
        self.copy = self.saved / "profiles" / NAME
        self.hiding = folder / f"etc/netplan/90-NM-{UUID}.yaml"
        self.probes = folder / "run/NetworkManager/conf.d/95-smart-meter-probes.conf"
        for path in (self.profile, self.copy, self.hiding, self.probes):
            path.parent.mkdir(parents=True)
        self.profile.write_text(TEXT)
        self.profile.chmod(0o600)
        self.copy.write_text(TEXT)
        self.network_manager(f"{UUID}:{self.profile}")

    def network_manager(self, profiles: str, *, load: str = "") -> None:
        """Set the profiles that NetworkManager has, and what it answers when it loads one."""
        self.program(
            self.folder / "bin/nmcli",
            f'echo "nmcli $*" >> {self.calls}\n'
            f'case "$*" in\n'
            f"    'connection load '*) echo \"{load}\" >&2 ;;\n"
            f"    *show) echo '{profiles}' ;;\n"
            f"esac",
        )

    def called(self) -> list[str]:
        """Return the commands that the guard has run, without those that write to the card."""
        calls = self.calls.read_text().replace(f"{self.folder}", "").splitlines()
        return [call for call in calls if not call.startswith(("sync", "smart-meter events"))]


@pytest.fixture
def pi(tmp_path: Path) -> Networked:
    return Networked(tmp_path)


def test_at_boot_profiles_that_are_as_confirmed_are_left_alone(pi: Networked) -> None:
    before = pi.profile.stat().st_ino

    pi.guard("boot")

    assert pi.profile.stat().st_ino == before
    assert pi.called() == []
    assert not pi.events.exists()


@pytest.mark.parametrize("damage", ["empty", "missing", "edited", "readable", "link", "folder", "no folder"])
def test_at_boot_a_profile_that_is_not_as_confirmed_is_restored(pi: Networked, damage: str) -> None:
    match damage:
        case "empty":
            pi.profile.write_text("")
        case "edited":
            pi.profile.write_text(TEXT + "[ipv4]\nmethod=auto\n")
        case "readable":
            pi.profile.chmod(0o644)
        case _:
            pi.profile.unlink()
    if damage == "link":
        pi.profile.symlink_to(pi.copy)
    if damage == "folder":
        (pi.profile / "x").mkdir(parents=True)
    if damage == "no folder":
        pi.profile.parent.rmdir()

    pi.guard("boot")

    assert pi.profile.read_text() == TEXT
    assert not pi.profile.is_symlink()
    assert pi.profile.stat().st_mode & 0o777 == 0o600
    assert list(pi.profile.parent.iterdir()) == [pi.profile]
    assert pi.noted() == [("network", f"{NAME} was not as confirmed: restored")]
    # NetworkManager starts later.
    assert pi.called() == []


def test_without_room_for_the_copy_the_profile_stays(pi: Networked) -> None:
    pi.profile.write_text("by hand")
    pi.program(pi.folder / "bin/cp", "exit 1")

    done = pi.run("smart-meter-guard", "boot")

    assert done.returncode == 1, "the unit does not show it"
    assert pi.profile.read_text() == "by hand"
    assert not pi.events.exists()


@pytest.mark.parametrize("copy", [None, "", "[connection]\nid=smart-meter-control\nuuid=5fb0", "folder"])
def test_a_copy_that_is_not_complete_restores_nothing(pi: Networked, copy: str | None) -> None:
    pi.copy.unlink()
    if copy == "folder":
        pi.copy.mkdir()
    elif copy is not None:
        pi.copy.write_text(copy)
    pi.profile.write_text("by hand")

    pi.guard("boot")

    assert pi.profile.read_text() == "by hand"


def test_at_boot_a_file_of_netplan_that_would_hide_a_profile_is_removed(pi: Networked) -> None:
    other = pi.hiding.with_name("50-cloud-init.yaml")
    for path in (pi.hiding, other):
        path.write_text("network: {}\n")

    pi.guard("boot")

    assert not pi.hiding.exists()
    assert other.exists()
    assert pi.called() == ["netplan generate"]


def test_a_change_that_a_power_cut_left_is_rolled_back_with_its_copies_first(pi: Networked) -> None:
    pi.guard("begin", "network", "60", str(pi.profile.parent), str(pi.copy.parent))
    for path in (pi.profile, pi.copy):
        path.write_text(TEXT.replace("control", "moved"))
    pi.calls.write_text("")

    pi.guard("boot")

    assert pi.profile.read_text() == pi.copy.read_text() == TEXT
    assert [kind for kind, _ in pi.noted()] == ["rollback"]
    assert pi.called() == ["netplan generate", "systemctl daemon-reload"]


def test_at_boot_broken_settings_of_netplan_stop_nothing(pi: Networked) -> None:
    """Somebody else's file may be invalid; the change and the profile are restored all the same."""
    other = pi.folder / "other"
    other.write_text("old")
    pi.guard("begin", "network", "60", str(other))
    other.write_text("new")
    pi.profile.write_text("")
    pi.hiding.write_text("network: {}\n")
    pi.program(pi.folder / "bin/netplan", "exit 78")

    assert pi.run("smart-meter-guard", "boot").returncode == 1, "the unit does not show it"

    assert other.read_text() == "old"
    assert not (pi.saved / "network").exists()
    assert pi.profile.read_text() == TEXT
    assert not pi.hiding.exists()


def test_at_boot_without_room_for_a_profile_what_hides_it_is_removed(pi: Networked) -> None:
    pi.profile.write_text(TEXT.replace("control", "other"))
    pi.hiding.write_text("network: {}\n")
    pi.program(pi.folder / "bin/cp", "exit 1")

    assert pi.run("smart-meter-guard", "boot").returncode == 1

    assert not pi.hiding.exists()


def test_a_rollback_restores_the_very_bytes_whatever_networkmanager_has_written(pi: Networked) -> None:
    pi.guard("begin", "network", "60", str(pi.profile.parent), str(pi.copy.parent))
    # Its checkpoint has expired before.
    pi.profile.write_text(TEXT + "\n[proxy]\n")
    pi.probes.write_text("")
    pi.calls.write_text("")

    pi.guard("roll_back", "network")

    assert pi.profile.read_text() == TEXT
    assert not pi.probes.exists()
    path = "/etc/NetworkManager/system-connections/smart-meter-control.nmconnection"
    assert pi.called() == [
        "netplan generate",
        "nmcli general reload conf",
        "nmcli connection reload",
        f"nmcli connection load {path}",
        "nmcli --terse --fields UUID,FILENAME connection show",
    ]


def test_a_rollback_goes_on_without_networkmanager(pi: Networked) -> None:
    pi.guard("begin", "network", "60", str(pi.profile.parent))
    pi.profile.write_text("new")
    pi.program(pi.folder / "bin/nmcli", "exit 8")
    pi.program(pi.folder / "bin/netplan", "exit 1")

    pi.guard("roll_back", "network")

    assert pi.profile.read_text() == TEXT
    assert not (pi.saved / "network").exists()


def test_networkmanager_reads_the_profiles(pi: Networked) -> None:
    pi.guard("load")

    path = "/etc/NetworkManager/system-connections/smart-meter-control.nmconnection"
    assert pi.called() == [
        f"nmcli connection load {path}",
        "nmcli --terse --fields UUID,FILENAME connection show",
    ]


def test_a_profile_that_netplan_hides_is_used_again(pi: Networked) -> None:
    pi.hiding.write_text("network: {}\n")

    pi.guard("load")

    assert not pi.hiding.exists()
    assert pi.called()[:2] == ["netplan generate", "nmcli connection reload"]


@pytest.mark.parametrize(
    ("has", "load", "message"),
    [
        ("{uuid}:{path}", "Could not load file '{path}'", "NetworkManager refuses {path}: Could not load"),
        (
            "{uuid}:/run/NetworkManager/system-connections/netplan-NM-{uuid}.nmconnection",
            "",
            "does not use {path}",
        ),
        ("", "", "does not use {path}"),
    ],
)
def test_a_profile_that_networkmanager_does_not_use_is_an_error(
    pi: Networked, has: str, load: str, message: str
) -> None:
    names = {"uuid": UUID, "path": str(pi.profile)}
    pi.network_manager(has.format(**names), load=load.format(**names))

    done = pi.run("smart-meter-guard", "load")

    assert done.returncode == 1
    assert message.format(**names) in done.stderr


def test_a_warning_of_nmcli_is_no_error(pi: Networked) -> None:
    pi.network_manager(f"{UUID}:{pi.profile}", load="Warning: nmcli and NetworkManager versions don't match.")

    pi.guard("load")


def test_a_timer_starts_the_unit_that_rolls_back(pi: Networked) -> None:
    pi.guard("begin", "network", "60", str(pi.profile.parent))

    assert pi.called() == [
        "systemctl stop smart-meter-guard@network.timer",
        "systemctl stop smart-meter-guard-network.timer",
        "systemd-run --quiet --collect --unit=smart-meter-guard@network.service --on-active=60 "
        "--timer-property=AccuracySec=1s",
    ]
