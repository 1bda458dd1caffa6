"""Fixtures of the tests with booted images: a card on which the image was written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.image import state
from tests.image.flash import IMAGE, flash


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("card")


@pytest.fixture(scope="module")
def key(folder: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    return folder / "key"


@pytest.fixture(scope="module")
def card(folder: Path, key: Path) -> Path:
    """A card of 4 GiB on which the image was written."""
    path = folder / "card.img"
    flash(IMAGE, path)
    public = key.with_suffix(".pub").read_text()
    state.put(
        path,
        {
            "/home/pi/.ssh/authorized_keys": state.File(
                public, 0o600, 1000, {"/home/pi": 0o700, "/home/pi/.ssh": 0o700}
            ),
            "/etc/sudoers.d/pi": state.File("pi ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        },
    )
    return path
