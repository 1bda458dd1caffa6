"""The output of playbooks/drift.yml: the name and the difference of each task that would change something.

Selected by `make drift`. It sets the fact `drift_found` of each host to the tasks that would have changed it,
which the last play evaluates.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

_REPOSITORY = Path(__file__).resolve().parents[2]
if str(_REPOSITORY) not in sys.path:
    sys.path.append(str(_REPOSITORY))

from playbooks.callback_plugins.clean import CallbackModule as Clean  # noqa: E402 - the path comes first.
from playbooks.callback_plugins.clean import Coloured  # noqa: E402

DOCUMENTATION = """
name: drift
type: stdout
short_description: only what differs
description: Prints the tasks of a run in check mode that would change something, with the difference.
extends_documentation_fragment: [default_callback, result_format_callback]
"""


class CallbackModule(Clean):
    """The output of a run that looks for drift."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "drift"

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[str]] = {}
        self._variables: Any = None

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Set each host's drift_found to the tasks found so far."""
        self._play = play
        self._variables = play.get_variable_manager()
        for host in self._variables._inventory.get_hosts():
            self._variables.set_nonpersistent_facts(
                host.name, {"drift_found": self._found.get(host.name, [])}
            )

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print a change; the items of a loop are printed already."""
        self._end(result)
        answer = result._result
        if not answer.get("changed"):
            return
        host, task = result._host.get_name(), result._task.get_name()
        self._found.setdefault(host, []).append(task)
        self._display.display(f"{host}: {task}")
        if "results" not in answer:
            self._show(answer)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Print the difference of one item."""
        if result._result.get("changed"):
            self._show(result._result)

    def _show(self, answer: dict[str, Any]) -> None:
        if answer.get("diff"):
            self._display.display(Coloured(self._get_diff(answer["diff"]).rstrip("\n")))

    def v2_on_file_diff(self, result: Any) -> None:
        """Print nothing: the difference is printed below its task's name."""

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Print nothing: only differences are printed."""

    v2_playbook_on_cleanup_task_start = v2_playbook_on_task_start
    v2_playbook_on_handler_task_start = v2_playbook_on_task_start

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Print nothing."""
        self._end(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Print nothing."""

    v2_playbook_on_include = v2_runner_item_on_skipped
    v2_runner_retry = v2_runner_item_on_skipped
    v2_playbook_on_notify = v2_playbook_on_task_start
    v2_playbook_on_no_hosts_matched = Default.v2_playbook_on_no_hosts_matched

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print "no drift" if nothing was found on any host and no host has failed."""
        self._done.set()
        good = not stats.failures and not stats.dark
        if good and stats.processed and not any(self._found.values()):
            self._display.display("no drift")
