"""The role appliance: the Pi's names, the journal's size limit, and the watchdog."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from tests.unit.roles.loaded import ROLES
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import provisioned, tasks_of, that_would_be_written, that_would_run
from tests.unit.roles.test_role_files import templar as of_all_roles

INTERNAL = REPOSITORY / "roles/appliance/vars/main.yml"
JOURNAL = REPOSITORY / "templates/etc/systemd/journald.conf.d/50-smart-meter.conf.j2"
REST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def templar(**variables: Any) -> Templar:
    loader = DataLoader()
    internal = loader.load_from_file(str(INTERNAL), trusted_as_template=True)
    return Templar(loader, {**ROLES.defaults, **internal, "ansible_managed": "By a test", **variables})


def hosts(lines: str, present: str = "pi-north") -> tuple[list[str], str]:
    """Return which names are missing in /etc/hosts, and the line that would have them."""
    made = templar(
        appliance_hostname="pi-north",
        preflight_look={"systemd": True, "name": {"node": present, "hosts": REST + lines}},
    )
    missing = made.template(trust_as_template("{{ __appliance_names_missing }}"))
    return sorted(missing), str(made.template(trust_as_template("{{ __appliance_own_line }}")))


@pytest.mark.parametrize(
    "lines",
    [
        "127.0.1.1\tpi-north\n",
        # As cloud-init writes it at each boot (manage_etc_hosts).
        "127.0.1.1 pi-north raspberrypi\n",
        "127.0.1.1 raspberrypi pi-north\n",
        "127.0.1.1 pi-north.example.org pi-north # by hand\n",
        "  127.0.1.1 \t raspberrypi\t\tPI-NORTH\n",
        "127.0.1.1 raspberrypi\n127.0.1.1 pi-north\n",
        "127.0.1.1 pi-north",
    ],
)
def test_any_line_that_has_the_name_is_right(lines: str) -> None:
    assert hosts(lines)[0] == []


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("", "127.0.1.1\tpi-north"),
        ("127.0.1.1\traspberrypi\n", "127.0.1.1\tpi-north raspberrypi"),
        (
            "127.0.1.1 pi-north-2 pi-north.example.org\n",
            "127.0.1.1\tpi-north pi-north-2 pi-north.example.org",
        ),
        ("127.0.1.1 old # not pi-north\n", "127.0.1.1\tpi-north old # not pi-north"),
        ("# 127.0.1.1 pi-north\n127.0.1.11 pi-north\n", "127.0.1.1\tpi-north"),
        ("127.0.1.1 old\n127.0.1.1 older\n", "127.0.1.1\tpi-north old"),
    ],
)
def test_a_name_that_is_missing_comes_into_the_first_line_and_nothing_goes(lines: str, line: str) -> None:
    assert hosts(lines) == (["pi-north"], line)
    assert hosts(f"{line}\n")[0] == [], "the next run changes nothing"


def test_the_name_that_the_pi_has_until_then_is_there_too() -> None:
    """From the image, from the imager, or set by hand: sudo asks for it at each call."""
    missing, line = hosts("127.0.1.1\traspberrypi\n", present="lab-pi")
    assert (missing, line) == (["lab-pi", "pi-north"], "127.0.1.1\tpi-north raspberrypi lab-pi")
    assert hosts(f"{line}\n", present="lab-pi")[0] == []
    assert hosts("127.0.1.1\tpi-north\n", present="lab-pi")[0] == ["lab-pi"]


@pytest.mark.parametrize(
    ("cap", "in_memory"),
    [("1G", 20 * 2**20), ("200M", 20 * 2**20), ("16M", 16 * 2**20), ("2G", 20 * 2**20), ("1000000", 1000000)],
)
def test_the_journals_cap_holds_in_memory_too(cap: str, in_memory: int) -> None:
    source = JOURNAL.read_text(encoding="utf-8")
    text = templar(appliance_journal_max_use=cap).template(
        trust_as_template(source), escape_backslashes=False
    )
    assert f"SystemMaxUse={cap}" in text.splitlines()
    assert f"RuntimeMaxUse={in_memory}" in text.splitlines()


WATCHDOG, OLD_WATCHDOG = (f"/etc/systemd/system.conf.d/{number}-smart-meter.conf" for number in (90, 50))


@pytest.mark.parametrize(
    ("settings", "on_the_pi", "tasks"),
    [
        ({}, [], []),
        ({}, [OLD_WATCHDOG], ["Watchdog | Remove what no longer applies"]),
        ({}, [WATCHDOG], ["Watchdog | Remove what no longer applies"]),
        ({"appliance_watchdog_seconds": 10}, [], ["Files | Write the others that differ"]),
        ({"appliance_watchdog_off": True}, [], ["Files | Write the others that differ"]),
        (
            {"appliance_watchdog_seconds": 10},
            [OLD_WATCHDOG, WATCHDOG],
            ["Files | Write the others that differ", "Watchdog | Remove what no longer applies"],
        ),
    ],
)
def test_the_watchdog_keeps_the_distribution_s_time_unless_the_inventory_has_one(
    settings: dict[str, Any], on_the_pi: list[str], tasks: list[str]
) -> None:
    other = ["0" * 64, "0644", "root", "root"]
    files = {path: other if path in on_the_pi else None for path in (WATCHDOG, OLD_WATCHDOG)}
    look = provisioned("appliance")
    look["files"] |= files

    assert that_would_run("appliance", look, **settings) == tasks
    written = that_would_be_written("appliance", look, **settings)
    assert list(written) == (["/etc/systemd/system.conf.d", WATCHDOG] if settings else [])


def test_the_watchdog_s_drop_in_beats_that_of_raspberry_pi_os() -> None:
    assert WATCHDOG.rpartition("/")[2] > "70-rpi-enable-watchdog.conf"


def test_a_pi_that_has_it_all_takes_no_round_trip() -> None:
    look = provisioned("appliance")
    assert that_would_run("appliance", look) == []
    # On the controller.
    assert runs_live(look) == ["SSH | Assert that the user has a key"]


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({"name.node": "raspberrypi"}, ["Name | Add the present name and the new one to /etc/hosts"]),
        ({"zone": ""}, ["Files | Write the others that differ"]),
        (
            {"packages": ["authbind", "systemd-timesyncd", "unattended-upgrades"]},
            [
                "Packages | Install missing packages",
                "Look | Read the state of the Pi",
            ],
        ),
    ],
)
def test_what_differs_is_repaired(changes: dict[str, Any], tasks: list[str]) -> None:
    assert that_would_run("appliance", changed(provisioned("appliance"), changes)) == tasks


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({"name.node": "raspberrypi"}, "Live | Set the host name"),
        ({"journal": ["/run/log/journal/0123/system.journal"]}, "Live | Note where the journal is"),
        ({"journal": []}, "Live | Note where the journal is"),
    ],
)
def test_what_runs_differently_is_changed(changes: dict[str, Any], task: str) -> None:
    assert task in runs_live(changed(provisioned("appliance"), changes))


def test_all_roles_packages_are_installed_at_once() -> None:
    look = changed(provisioned("appliance"), {"packages": ["iw"]})
    missing = of_all_roles(preflight_look=look).template(trust_as_template("{{ __appliance_missing }}"))
    assert missing == ["authbind", "systemd-timesyncd", "ufw", "unattended-upgrades", "wireless-regdb"]
    wired = of_all_roles(preflight_look=look, network_field_type="ethernet")
    assert "wireless-regdb" not in wired.template(trust_as_template("{{ __appliance_missing }}"))


def test_a_root_that_does_not_run_gets_no_name_of_the_machine_that_prepares_it() -> None:
    look = changed(provisioned("appliance"), {"systemd": False, "name.node": "laptop"})
    now = of_all_roles(preflight_look=look, appliance_hostname="pi-north")
    assert now.template(trust_as_template("{{ __appliance_names }}")) == ["pi-north"]


@pytest.mark.parametrize("user", ["", "pi"])
def test_such_a_root_admits_only_a_user_that_the_inventory_names(user: str) -> None:
    path = "/etc/ssh/sshd_config.d/10-smart-meter.conf"
    given = {"ansible_user": user} if user else {}
    look = changed(provisioned("appliance"), {"systemd": False, "login.name": "root"})
    look["files"][path] = None
    assert list(that_would_be_written("appliance", look, **given)) == ([path] if user else [])


def test_the_time_zone_is_a_link() -> None:
    look = changed(provisioned("appliance"), {"zone": ""})
    written = that_would_be_written("appliance", look, appliance_timezone="Europe/Berlin")
    link = {"path": "/etc/localtime", "target": "/usr/share/zoneinfo/Europe/Berlin"}
    assert written == {"/etc/localtime": link}


@pytest.mark.parametrize(
    ("path", "handlers"),
    [
        ("/etc/systemd/timesyncd.conf.d/50-smart-meter.conf", ["Restart timesyncd"]),
        ("/etc/systemd/journald.conf.d/50-smart-meter.conf", ["Restart journald"]),
        (WATCHDOG, ["Reload systemd's own configuration"]),
        ("/etc/apt/apt.conf.d/52smart-meter", []),
    ],
)
def test_a_program_starts_again_with_what_it_reads(path: str, handlers: list[str]) -> None:
    now = of_all_roles(
        __appliance_differs=[path], appliance_watchdog_seconds=10, preflight_look=provisioned("appliance")
    )
    assert now.template(trust_as_template("{{ __appliance_handlers }}")) == handlers


def test_what_has_a_handler_is_written_only_once_all_packages_are_there() -> None:
    """If one can't be installed, the run ends: no file may count as written whose handler has not run."""
    look = provisioned("appliance")
    look["files"] = {
        path: None if isinstance(found, list) else found for path, found in look["files"].items()
    }
    look["packages"] = []
    names = that_would_run("appliance", look, appliance_watchdog_seconds=10)
    before, then = "Files | Write those that come before the packages", "Files | Write the others that differ"
    assert names.index(before) < names.index("Packages | Install missing packages") < names.index(then)
    [task] = [task for task, _ in tasks_of("appliance") if task["name"] == before]
    assert "notify" not in task


@pytest.mark.parametrize(("missing", "tasks"), [([], 1), (["iw"], 0)])
def test_what_apt_kept_is_removed_by_the_installation_or_by_a_task(missing: list[str], tasks: int) -> None:
    look = provisioned("appliance")
    look["files"]["/etc/apt/apt.conf.d/52smart-meter"] = None
    look["packages"] = [name for name in look["packages"] if name not in missing]
    assert that_would_run("appliance", look).count("Packages | Clear apt's package cache") == tasks


@pytest.mark.parametrize("check", [False, True])
def test_on_an_image_packages_come_by_an_update_of_the_image(check: bool) -> None:
    look = changed(provisioned("appliance"), {"packages": [], "root.ours": True})

    tasks = that_would_run("appliance", look, ansible_check_mode=check)

    assert tasks == ["Packages | Report those that only an update of the image can bring"]


def test_on_an_image_no_package_cache_is_cleared() -> None:
    look = changed(provisioned("appliance"), {"root.ours": True})
    look["files"]["/etc/apt/apt.conf.d/52smart-meter"] = None
    assert that_would_run("appliance", look) == ["Files | Write those that come before the packages"]


def changed(look: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the look with other values, by their places."""
    for place, value in changes.items():
        *parents, name = place.split(".")
        node = look
        for parent in parents:
            node = node[parent]
        node[name] = value
    return look


def runs_live(look: dict[str, Any]) -> list[str]:
    return that_would_run("appliance", look, file="live.yml", __appliance_differs=[])
