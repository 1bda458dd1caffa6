"""A template's text, which a role compares with the Pi's file, has the bytes of the file that is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.unit.roles.looks import answer
from tests.unit.roles.site import REPOSITORY, Site

TEMPLATES = sorted((REPOSITORY / "templates").rglob("*.j2"))
HOST = (
    "group_vars/all/connection.yml",
    "group_vars/all/fleet.yml",
    "group_vars/site_north/main.yml",
    "host_vars/pi-north.yml",
)
VARIABLES = [
    *sorted(REPOSITORY.glob("roles/*/defaults/main.yml")),
    *sorted(REPOSITORY.glob("roles/*/vars/main.yml")),
    *(REPOSITORY / "inventory" / name for name in HOST),
]


def test_the_lookup_returns_the_bytes_that_the_module_writes(tmp_path: Path) -> None:
    written: dict[str, Any] = {
        "name": "Write",
        "ansible.builtin.template": {"src": "{{ item.src }}", "dest": "{{ item.dest }}", "mode": "0600"},
        "loop": "{{ wanted }}",
    }
    compared: dict[str, Any] = {
        "name": "Compare",
        "ansible.builtin.assert": {
            "that": "lookup('ansible.builtin.template', item.src) | hash('sha256') == (item.dest | sum_of)",
        },
        "loop": "{{ wanted }}",
    }
    play = {
        "name": "Render",
        "hosts": "pi-north",
        "gather_facts": False,
        "vars_files": [str(path) for path in VARIABLES],
        "tasks": [written, compared],
        "vars": {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "preflight_look": answer(),
            # The template that is written for each zone.
            "zone": "{{ __network_zones[0] }}",
            "vault_network_field_psk": ' correct "horse" \\ battery',
            "wanted": [
                {"src": str(path), "dest": str(tmp_path / f"{number}.out")}
                for number, path in enumerate(TEMPLATES)
            ],
        },
    }
    site = Site(tmp_path)
    site.write("render.yml", json.dumps([play]))
    site.write(
        "filter_plugins/sums.py",
        "import hashlib, pathlib\n"
        "class FilterModule:\n"
        "    def filters(self):\n"
        "        return {'sum_of': lambda at: hashlib.sha256(pathlib.Path(at).read_bytes()).hexdigest()}\n",
    )
    site.hosts({"pi-north": "{}\n"})

    filters = ":".join(str(folder) for folder in sorted((REPOSITORY / "roles").glob("*/filter_plugins")))
    outcome = site.play(
        "-e", "vault_become_password=unused", playbook="render.yml", ANSIBLE_FILTER_PLUGINS=filters
    )

    assert outcome.returncode == 0, outcome.output
    assert len(list(tmp_path.glob("*.out"))) == len(TEMPLATES)
