"""What Ansible has loaded before it plays anything: its plugins, and the repository's roles."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader
from roles.preflight.rules.variables import load_roles
from tests.unit.roles.site import REPOSITORY

# As every Ansible command does before it begins, once: filters of collections are found from here on.
init_plugin_loader()
ROLES = load_roles(REPOSITORY)
