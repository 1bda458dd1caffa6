"""Every template as a Pi of the example inventory gets it, for tests/unit/roles/golden.

`default` is the site's first Pi: authbind, Wi-Fi. `other` has the opposite choices, and only the files that
differ by them. A template in BY_ZONE is written for each zone, with the zone in its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template
from roles.preflight.rules.variables import load_roles
from tools.generate import REPOSITORY

GOLDEN = REPOSITORY / "tests/unit/roles/golden"
TEMPLATES = REPOSITORY / "templates"
BY_ZONE = TEMPLATES / "etc/NetworkManager/system-connections/smart-meter.nmconnection.j2"
_ZONES = ("field", "control")
_HOST_FILES = (
    "group_vars/all/connection.yml",
    "group_vars/all/fleet.yml",
    "group_vars/site_north/main.yml",
    "host_vars/pi-north.yml",
)
_OTHER: dict[str, Any] = {
    "appliance_ntp_servers": ["ntp.example", "192.168.2.1"],
    "appliance_unattended_upgrades": False,
    "appliance_unattended_reboot_time": "03:30",
    "appliance_watchdog_seconds": 0,
    "appliance_watchdog_off": True,
    "__appliance_restart_days": 1,
    "appliance_ssh_forwarding": True,
    "preflight_look": {
        "systemd": True,
        "systemd_version": 252,
        "login": {"name": "root"},
        "release": {"version": "12"},
    },
    "concentrator_port_binding": "socket",
    "concentrator_log_format": "json",
    "concentrator_history_path": "/mnt/usb/smart-meter/history.db",
    "network_field_interface": "eth1",
    "network_field_type": "ethernet",
    "network_control_gateway": "192.168.2.1",
    "network_control_dns": ["192.168.2.1", "192.168.2.2"],
}


def render(template: Path, **variables: Any) -> str:
    """Return a template's text for the example inventory's pi-north with some variables changed."""
    source = trust_as_template(template.read_text(encoding="utf-8"))
    templar = Templar(DataLoader(), {**_variables(), **variables})
    return str(templar.template(source, escape_backslashes=False, overrides={"trim_blocks": True}))


@cache
def _variables() -> dict[str, Any]:
    loader = DataLoader()

    def load(path: Path) -> dict[str, Any]:
        return dict(loader.load_from_file(str(path), trusted_as_template=True) or {})

    variables = dict(load_roles(REPOSITORY).defaults)
    for path in sorted(REPOSITORY.glob("roles/*/vars/main.yml")):
        variables |= load(path)
    for name in _HOST_FILES:
        variables |= load(REPOSITORY / "inventory" / name)
    return {
        **variables,
        "inventory_hostname": "pi-north",
        "preflight_look": {
            "systemd": True,
            "systemd_version": 257,
            "login": {"name": "pi"},
            "release": {"version": "13"},
        },
        "__appliance_restart_days": 0,
        # The file is written only with a time, or to switch the watchdog off.
        "appliance_watchdog_seconds": 15,
        "ansible_managed": "Managed by Ansible",
        "vault_network_field_psk": ' correct "horse" \\ battery',
    }


@cache
def load_plugins() -> None:
    """Make the filters of collections and roles known, as Ansible does, but only once per process."""
    init_plugin_loader()
    for folder in sorted(REPOSITORY.glob("roles/*/filter_plugins")):
        filter_loader.add_directory(str(folder))


@cache
def products() -> dict[Path, Callable[[], str]]:
    """Return each golden file and what renders it."""
    load_plugins()
    found: dict[Path, Callable[[], str]] = {}
    for template in sorted(TEMPLATES.rglob("*.j2")):
        name = template.relative_to(TEMPLATES).with_suffix("")
        written: dict[Path, dict[str, Any]] = {name: {}}
        if template == BY_ZONE:
            written = {
                name.with_stem(f"{name.stem}-{zone}"): {
                    "zone": trust_as_template(f"{{{{ __network_zones[{place}] }}}}")
                }
                for place, zone in enumerate(_ZONES)
            }
        for path, variables in written.items():
            default = partial(render, template, **variables)
            other = partial(render, template, **variables, **_OTHER)
            found[GOLDEN / "default" / path] = default
            if other() != default():
                found[GOLDEN / "other" / path] = other
    return found
