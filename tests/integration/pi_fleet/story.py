"""What the tests on a fleet use: three Pis at two sites with the same addresses, and the state of each Pi."""

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
    """Change the scale of the first measurement in the inventory, for all Pis."""
    first, *others = METER["measurements"]
    fleet.controller.site["concentrator_meters"] = [
        {**METER, "measurements": [{**first, "scale": scale}, *others]}
    ]
    fleet.controller.write()


def scales(fleet: Fleet) -> dict[str, list[str]]:
    """Return each Pi's first scale, in its file and in the configuration that the service runs with."""
    return {
        name: [
            re.findall(r"^scale = (\d+)", fleet.pi(name).run(["cat", file]).stdout, re.MULTILINE)[0]
            for file in (CONFIG, RUNNING)
        ]
        for name in ALL
    }


def scale_of(fleet: Fleet, name: str) -> int:
    """Return a Pi's first scale. Fails unless its file, its running configuration and its replies agree."""
    pi = fleet.pi(name)
    text = pi.path(CONFIG).read_text()
    assert pi.path(RUNNING).read_text() == text
    config = loads(text, "config.toml")
    request = json.dumps(target(config, "192.168.2.1", 5))
    # It compares the fingerprint of the map, which depends on the scales.
    proof = fleet.labs[name].run("control", [sys.executable, PROVE, request])
    assert json.loads(proof.stdout) == []
    return int(config.meters[0].map.measurements[0].scale)


def consistent_scales(fleet: Fleet) -> dict[str, int]:
    """Return each Pi's first scale, see `scale_of`."""
    return {name: scale_of(fleet, name) for name in ALL}


def wait_for_moment(condition: Callable[[], bool], controller: Running, seconds: float = 60) -> None:
    """Return as soon as the condition holds. Fails if the playbook ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert not controller.is_over, controller.wait().output
        assert time.monotonic() < deadline, controller.output
        time.sleep(0.0005)


def outcomes(played: Played) -> dict[str, str]:
    """Return the outcome of each Pi in the table of the last play."""
    return dict(
        re.findall(
            r"^\s+-? *'?(pi-\w+) +(\w+)",
            played.output.rpartition("Show the outcome of each Pi")[2],
            re.MULTILINE,
        )
    )


Edit = tuple[str, str, str]
"""A file of the repository, a text in it, and its replacement."""


def version(prefix: str) -> Edit:
    """Return an edit that puts a prefix before the version."""
    return "src/smart_meter/__init__.py", '__version__ = "', f'__version__ = "{prefix}'


@contextmanager
def another_release(fleet: Fleet, name: str, *edits: Edit) -> Iterator[None]:
    """Replace the operator's repository by a copy with edits to the program."""
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
    """Return the release that a link on the first Pi points to."""
    return Path(fleet.pi(NORTH).run(["readlink", f"/opt/smart-meter/{link}"]).stdout.strip()).name


@contextmanager
def opta(fleet: Fleet, name: str) -> Iterator[dict[str, Any]]:
    """Read from a Pi over one connection during the block; the result is complete after the block."""
    program = [sys.executable, "-m", "tests.integration.opta", "hold", ADDRESSES[name]]
    reads: dict[str, Any] = {}
    with fleet.labs[name].popen("control", program, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        try:
            yield reads
        finally:
            text, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    reads.update(json.loads(text))
