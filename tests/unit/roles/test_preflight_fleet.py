"""A hundred Pis on four sites: everything that is wrong is reported in one run, and in time."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
from tests.unit.roles.site import ALL, Outcome, Site, good_host

SITES = ("north", "east", "south", "west")
PIS_OF_A_SITE = 25
PLAIN = "seen-by-everybody"

# 15 s on two cores, as processor time: what else runs on the machine does not count.
LONGEST = 30.0

# By file: what is added to it, and the problems reported for it. A Pi's file begins with its two addresses.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "group_vars/all.yml": (
        "concentrator_idle_timout: 60\n",
        [
            ":8: concentrator_idle_timout: is not a variable of the role concentrator; "
            "did you mean concentrator_idle_timeout?"
        ],
    ),
    "group_vars/site_east.yml": (
        "appliance_timezone: Europe/Berlln\nnetwork_control_gateway: 192.168.3.1\n",
        [
            ':3: appliance_timezone: "Europe/Berlln" is not a time zone; did you mean Europe/Berlin?',
            ":4: network_control_gateway: 192.168.3.1 is not in the zone's network 192.168.2.0/24; "
            "give a router within it",
        ],
    ),
    "group_vars/site_south.yml": (
        "concentrator_meters:\n"
        "  - name: pv\n"
        "    unit_id: 1\n"
        "    stale_after: -5\n"
        "    on_stale: sentinal\n"
        "    access:\n"
        "      - {zone: fild, access: write}\n"
        "      - {zone: control, clients: [10.9.9.9], functions: [99]}\n"
        "    measurements: [{name: P_ac, address: 0, type: uint16}]\n",
        [
            ':7: concentrator_meters[0].on_stale: "sentinal" is unknown; give hold or exception or sentinel; '
            "did you mean sentinel?",
            ":6: concentrator_meters[0].stale_after: -5 is out of range; give seconds from 0.1",
            ':9: concentrator_meters[0].access[0].zone: "fild" is unknown; give "field" or "control"',
            ':10: concentrator_meters[0].access[1].clients: "10.9.9.9" (clients[0]) is not in the zone\'s '
            "network 192.168.2.0/24; give an address or a network of the zone",
            ":10: concentrator_meters[0].access[1].functions: 99 is not a supported function code; give",
        ],
    ),
    "host_vars/pi-north-3.yml": (
        "concentrator_meters:\n"
        "  - name: pv\n"
        "    unit_id: 248\n"
        "    measurements:\n"
        "      - {name: P_ac, address: 0, type: uint32, word_order: little}\n"
        "      - {name: P_dc, address: 1, type: uint16, minimum: 9, maximum: 3}\n",
        [
            ":5: concentrator_meters[0].unit_id: 248",
            ":8: concentrator_meters[0].measurements[1].address: register 1 overlaps registers 0 to 1",
            ":8: concentrator_meters[0].measurements[1].m",
        ],
    ),
    "host_vars/pi-north-9.yml": (
        "",
        [
            f":{line}: network_{zone}_address: 192.168.{line}.2 of pi-north-9 is network_{zone}_address of "
            f"pi-north-1 already (inventory/host_vars/pi-north-1.yml:{line}); "
            "give each Pi of a site its own, or set preflight_site if they are at different sites"
            for line, zone in ((1, "field"), (2, "control"))
        ],
    ),
    "host_vars/pi-west-4.yml": (
        f"network_field_psk: {PLAIN}\n",
        [
            ":3: network_field_psk: is in plain text (its value is not shown); "
            "encrypt the file (ansible-vault encrypt), or keep the value in the vault (make vault)"
        ],
    ),
    "host_vars/pi-west-5.yml": (
        "preflight_jump_host: gate west\n",
        [
            ':3: preflight_jump_host: "gate west" is not a jump host for SSH; '
            "give a name of ~/.ssh/config, or [USER@]HOST[:PORT]; separate several with commas"
        ],
    ),
    "host_vars/pi-wets-6.yml": (
        "",
        [": pi-wets-6: is not a host in the inventory, so nothing reads this; did you mean pi-west-6?"],
    ),
}


def fleet(folder: Path, mistakes: dict[str, tuple[str, list[str]]]) -> Site:
    """Write an inventory of four sites with the same addresses, each behind a jump host of its own."""
    site = Site(folder)
    common = ALL.rstrip() + "\nansible_ssh_common_args: -o ProxyJump={{ preflight_jump_host }}\n"
    files = {"group_vars/all.yml": common.lstrip("\n")}
    lines = ["smart_meters:", "  children:"]
    for name in SITES:
        lines += [f"    site_{name}:", "      hosts:"]
        files[f"group_vars/site_{name}.yml"] = (
            f"preflight_site: {name}\npreflight_jump_host: gate.{name}.example\n"
        )
        for number in range(PIS_OF_A_SITE):
            lines.append(f"        pi-{name}-{number}:")
            files[f"host_vars/pi-{name}-{number}.yml"] = good_host(number + 1)
    if "host_vars/pi-north-9.yml" in mistakes:
        files["host_vars/pi-north-9.yml"] = good_host(2)
    for file, (text, _) in mistakes.items():
        files[file] = files.get(file, "") + text
    site.write("inventory/hosts.yml", "\n".join(lines) + "\n")
    for file, text in files.items():
        site.write(f"inventory/{file}", text)
    return site


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return fleet(tmp_path_factory.mktemp("fleet"), MISTAKES).play()


@pytest.mark.parametrize("file", MISTAKES)
def test_each_mistake_is_reported_once_with_file_key_value_and_fix(refused: Outcome, file: str) -> None:
    place = f"inventory/{file}"
    problems = sorted(line.removeprefix(place) for line in refused.problems if line.startswith(f"{place}:"))
    expected = sorted(MISTAKES[file][1])
    assert len(problems) == len(expected), "\n".join(problems)
    for line, beginning in zip(problems, expected, strict=True):
        assert line.startswith(beginning)
        assert ";" in line, "the fix"


def test_nothing_else_is_reported_and_no_pi_is_touched(refused: Outcome) -> None:
    assert len(refused.problems) == sum(len(expected) for _, expected in MISTAKES.values())
    assert refused.returncode == 2
    assert f"of {len(SITES) * PIS_OF_A_SITE} Pis), listed above; no Pi was touched" in refused.output
    assert "a Pi was touched" not in refused.output
    assert PLAIN not in refused.output


def test_a_hundred_good_pis_pass_in_time(tmp_path: Path) -> None:
    site = fleet(tmp_path, {})
    # As in a play of its own: what comes after the check is not measured.
    site.write("check.yml", (tmp_path / "site.yml").read_text(encoding="utf-8").split("- name: Touch")[0])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    outcome = site.play(playbook="check.yml")
    seconds = time.monotonic() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    assert outcome.returncode == 0, outcome.output
    assert "failed=0" in outcome.output
    print(f"100 Pis checked in {seconds:.1f} s, {processor:.1f} s of processor time")
    assert processor < LONGEST
