"""What Ansible has loaded before it plays anything: its plugins, and the repository's roles."""

from __future__ import annotations

from roles.preflight.rules.variables import load_roles
from tests.unit.roles.site import REPOSITORY
from tools.generate.templates import load_plugins

load_plugins()
ROLES = load_roles(REPOSITORY)
