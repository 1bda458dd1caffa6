"""What the stories of a fleet are told with: three Pis on two sites with the same addresses, and what each
has.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roles.concentrator.rollout.proof import target

from smart_meter.config import loads
from tests.controller import REPOSITORY, Played, Running
from tests.fleet import ADDRESSES, NORTH, SECOND, SOUTH, Fleet

ALL = (NORTH, SECOND, SOUTH)
CONFIG = "/etc/smart-meter/config.toml"
PROVE = REPOSITORY / "roles/concentrator/files/prove.py"
RUNNING = "/run/smart-meter/config.toml"
METER: dict[str, Any] = {
    "name": "pv",
    "unit_id": 1,
    "measurements": [
        {"name": f"M{number}", "address": number, "type": "uint16", "scale": 10} for number in range(8)
    ],
}


def set_scale(fleet: Fleet, scale: int) -> None:
    """Give the first measurement another scale, on all Pis."""
    first, *others = METER["measurements"]
    fleet.controller.site["concentrator_meters"] = [
        {**METER, "measurements": [{**first, "scale": scale}, *others]}
    ]
    fleet.controller.write()


def scales(fleet: Fleet) -> dict[str, list[str]]:
    """Return of each Pi the first scale in its file, and in what the service runs with."""
    return {
        name: [
            re.findall(r"^scale = (\d+)", fleet.pi(name).run(["cat", file]).stdout, re.MULTILINE)[0]
            for file in (CONFIG, RUNNING)
        ]
        for name in ALL
    }


def has(fleet: Fleet, name: str) -> int:
    """Return the first scale that a Pi has; fail where it is between two: where what it has, what the service
    runs with and what it serves are not one and the same.
    """
    pi = fleet.pi(name)
    text = pi.path(CONFIG).read_text()
    assert pi.path(RUNNING).read_text() == text
    config = loads(text, "config.toml")
    asked = json.dumps(target(config, "192.168.2.1", 5))
    # By the fingerprint of the map, which has the scales in it.
    said = fleet.labs[name].run("control", [sys.executable, PROVE, asked])
    assert json.loads(said.stdout) == []
    return int(config.meters[0].map.measurements[0].scale)


def all_have(fleet: Fleet) -> dict[str, int]:
    """Return of each Pi the first scale that it has, all through."""
    return {name: has(fleet, name) for name in ALL}


def when(condition: Callable[[], bool], controller: Running, seconds: float = 60) -> None:
    """Return at the very moment at which the condition holds; fail where the playbook ends without it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert not controller.is_over, controller.wait().output
        assert time.monotonic() < deadline, controller.output
        time.sleep(0.0005)


def outcomes(played: Played) -> dict[str, str]:
    """Return the last play's table."""
    return dict(
        re.findall(
            r"^\s+-? *'?(pi-\w+) +(\w+)",
            played.output.rpartition("Show the outcome of each Pi")[2],
            re.MULTILINE,
        )
    )


Edit = tuple[str, str, str]
"""A file of the repository, a text in it, and another text for that."""


def version(prefix: str) -> Edit:
    """Return what puts a prefix before the version."""
    return "src/smart_meter/__init__.py", '__version__ = "', f'__version__ = "{prefix}'


@contextmanager
def another_release(fleet: Fleet, name: str, *edits: Edit) -> Iterator[None]:
    """Have the operator's folder be one with another program."""
    copy = fleet.controller.lab.folder / name
    for folder in ("src", "roles", "playbooks", "templates", "tools", "requirements"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("ansible.cfg", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / file, copy / file)
    for file, old, new in edits:
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new))
    before, fleet.controller.repository = fleet.controller.repository, copy
    try:
        yield
    finally:
        fleet.controller.repository = before


def release(fleet: Fleet, link: str = "current") -> str:
    """Return the release that a link on the first Pi leads to."""
    return Path(fleet.pi(NORTH).run(["readlink", f"/opt/smart-meter/{link}"]).stdout.strip()).name


@contextmanager
def opta(fleet: Fleet, name: str) -> Iterator[dict[str, Any]]:
    """Hold a connection to a Pi and ask on it all the while; afterwards, how often, and what was lost."""
    program = [sys.executable, "-m", "tests.integration.opta", "hold", ADDRESSES[name]]
    told: dict[str, Any] = {}
    with fleet.labs[name].popen("control", program, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        try:
            yield told
        finally:
            text, complaint = process.communicate(timeout=30)
    assert process.returncode == 0, complaint
    told.update(json.loads(text))
