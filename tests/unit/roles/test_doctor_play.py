"""playbooks/doctor.yml shows the fixes of this release and of older ones, and Pis without a doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.roles.site import REPOSITORY, Site

LOCAL = "ansible_connection: local\nansible_become: false\n"


def answer(layout: int, key: str) -> dict[str, Any]:
    fix = {key: "make provision LIMIT=NAME-OF-THIS-PI"}
    bad = {"name": "port 502", "found": "closed", "expected": "open", "level": "bad", **fix}
    warning = {"name": "clock", "found": "not synchronised", "expected": "right", "level": "warning", **fix}
    return {"layout": layout, "level": "bad", "checks": [bad, warning]}


def test_the_fix_is_shown_for_the_answers_of_this_release_and_of_older_ones(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("inventory/group_vars/all.yml", LOCAL)
    (tmp_path / "inventory/group_vars/smart_meters.yml").unlink()
    site.hosts({f"pi-{name}": f"answers: {name}\n" for name in ("new", "old", "none", "evil")})
    site.write("new.json", json.dumps(answer(2, "fix")))
    site.write("old.json", json.dumps(answer(1, "mend")))
    # A Pi that claims to be good, and would write to the terminal.
    evil = {**answer(2, "fix"), "level": "ok"}
    evil["checks"][0]["found"] = "\x1b[2J\u202eclosed"
    site.write("evil.json", json.dumps(evil))
    site.write("doctor", f'#!/bin/sh\n[ "$*" = "doctor --json" ] && cat {tmp_path}/"$(basename "$0")".json\n')
    for name in ("new", "old", "none", "evil"):
        (tmp_path / name).write_text((tmp_path / "doctor").read_text())
        (tmp_path / name).chmod(0o755)
    variables = {
        "__doctor_program": f"{tmp_path}/{{{{ answers }}}}",
        "doctor_results": f"{tmp_path}/out.json",
    }

    outcome = site.play("-e", json.dumps(variables), playbook=str(REPOSITORY / "playbooks/doctor.yml"))

    assert outcome.returncode != 0, "checks are bad"
    shown = " ".join(outcome.output.split())
    for name in ("pi-new", "pi-old"):
        assert f"BAD {name}: 2 checks, 1 bad, 1 warning'" in shown
        assert f"BAD port 502: closed; expected: open' - ' fix: make provision LIMIT={name}'" in shown
        assert f"{name}: a check is bad; the results above show which" in shown
    assert "BAD pi-none: could not be asked: cat: " in shown
    stored = {
        host["name"]: host["state"] for host in json.loads((tmp_path / "out.json").read_text())["hosts"]
    }
    assert stored == {"pi-new": "asked", "pi-old": "asked", "pi-none": "failed", "pi-evil": "asked"}
    assert "pi-evil: a check is bad" in shown
    assert "\x1b[2J" not in outcome.output
    assert "\u202e" not in outcome.output
