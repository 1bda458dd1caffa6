"""Load what every one of Ansible's forks needs, before they fork: it saves some 50 ms per task and Pi.

Ansible imports an action plugin in its own process before it forks for the task, so everything that is loaded
then is already there in the forks of this and of later tasks.
"""

from __future__ import annotations

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import become_loader, connection_loader, shell_loader
from roles.preflight.rules.variables import Roles, Variables


def warm(roles: Roles) -> None:
    """Load the plugins for connections to Pis, and those that the configuration's template uses."""
    Variables("", {}, roles, DataLoader()).render()
    for loader, name in ((connection_loader, "ssh"), (become_loader, "sudo"), (shell_loader, "sh")):
        loader.get(name, class_only=True)
