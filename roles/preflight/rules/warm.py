"""What every one of Ansible's forks needs, and would load for itself: some 50 ms a task and Pi.

Ansible imports an action plugin in its own process, before it forks for the task: what is loaded then, all
forks of this and of later tasks find done.
"""

from __future__ import annotations

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import become_loader, connection_loader, shell_loader
from roles.preflight.rules.variables import Roles, Variables


def warm(roles: Roles) -> None:
    """Load the plugins by which Pis are reached, and those that the configuration's template uses."""
    Variables("", {}, roles, DataLoader()).render()
    for loader, name in ((connection_loader, "ssh"), (become_loader, "sudo"), (shell_loader, "sh")):
        loader.get(name, class_only=True)
