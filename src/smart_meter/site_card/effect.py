"""Makes the running system use what a card has changed, at a point of the boot before the network starts.

The service, sshd, ufw and NetworkManager start later and read their files then.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from smart_meter.site_card.apply import Outcome
from smart_meter.site_card.commands import Run
from smart_meter.site_card.places import BY_KEY, PLACES

_SYSCTL = "/usr/lib/systemd/systemd-sysctl"


def take_effect(
    outcome: Outcome, run: Run, name: Callable[[str], None] = socket.sethostname, root: Path = Path("/")
) -> Iterator[str]:
    """Run what is needed, and yield what failed; after a restart, all of it is in effect in any case.

    name: sets the running system's host name.
    """
    changed = set(outcome.changed)
    try:
        name(outcome.host_name)
    except OSError as error:
        yield f"the host name is set from the next restart on: {error.strerror}"
    for command in _commands(changed, root):
        done = run(command)
        if done.status:
            why = " ".join(done.output.split())[:200]
            yield f"`{' '.join(command)}` failed, so a part takes effect at the next restart: {why}"


def _commands(changed: set[str], root: Path) -> Iterator[list[str]]:
    # daemon-reexec also reads the watchdog's settings.
    yield ["systemctl", "daemon-reexec" if BY_KEY["watchdog"].path in changed else "daemon-reload"]
    if BY_KEY["kernel"].path in changed:
        yield [_SYSCTL]
    for key, unit in (("journal", "systemd-journald.service"), ("time", "systemd-timesyncd.service")):
        if BY_KEY[key].path in changed:
            yield ["systemctl", "--no-block", "try-restart", unit]
    if BY_KEY["wifi_country"].path in changed:
        with suppress(OSError):
            text = (root / BY_KEY["wifi_country"].path.lstrip("/")).read_text(encoding="utf-8")
            if found := re.search(r"regdom=([A-Z]{2})$", text, re.MULTILINE):
                yield ["iw", "reg", "set", found[1]]
    for place in PLACES:
        if place.link in changed:
            is_on = (root / place.link.lstrip("/")).is_symlink()
            yield ["systemctl", "--no-block", "start" if is_on else "stop", Path(place.path).name]
