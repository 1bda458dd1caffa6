"""A Pi's SD card: an ext4 file system in a file, so that a power cut loses what was not written yet.

Everything that a Pi changes is on it: the upper layer of its overlay. A Pi writes to its kernel's page
cache, and the kernel to the card: on `sync`, `fsync`, and by itself after some seconds. A power cut keeps
the card as it is at that moment and forgets the cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.virtual_pi import places
from tests.virtual_pi.commands import LabError, run

# Sparse: it takes the room of what is on it. Raspberry Pi OS's root file system is the same ext4.
SIZE = "8G"
# How often the card is copied until a copy was made in which nothing was written meanwhile.
_ATTEMPTS = 20


def of(lab: str, pi: str) -> Path:
    """Return the file that is the Pi's card."""
    return places.pi_disk(lab, pi) / "card.img"


def insert(lab: str, pi: str) -> None:
    """Make an empty card, with the folders of the overlay on it."""
    layers = places.pi_disk(lab, pi) / "layers"
    for part in ("upper", "work"):
        (layers / part).mkdir(parents=True)
        # The upper layer's permissions are those of the Pi's root folder.
        (layers / part).chmod(0o755)
    options: list[str | Path] = ["-q", "-t", "ext4", "-E", "lazy_itable_init=0,root_owner=0:0", "-d", layers]
    run(["mke2fs", *options, of(lab, pi), SIZE])


def keep_as_it_is(lab: str, pi: str) -> Path:
    """Copy the card while nothing is written to it, and return the copy; call it while the Pi stands still.

    Raises LabError if the card is written to all the time.
    """
    card = of(lab, pi)
    copy = card.with_suffix(".cut")
    for _ in range(_ATTEMPTS):
        before = os.stat(card).st_mtime_ns
        run(["cp", "--sparse=always", card, copy], timeout=300)
        if os.stat(card).st_mtime_ns == before:
            return copy
    raise LabError(f"{card} is written to all the time: no moment of it can be kept")
