"""A Pi's SD card: an ext4 file system in a file, so that a power cut loses what is not written yet.

The card holds everything that a Pi changes, as the upper layer of its overlay. A Pi writes to the page cache;
the kernel writes the cache to the card on `sync`, on `fsync`, and by itself after some seconds. A power cut
keeps the card as it is at that moment and discards the cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.virtual_pi import places
from tests.virtual_pi.commands import LabError, run

# A sparse file: it takes no more space than its contents. Raspberry Pi OS also uses ext4.
SIZE = "8G"
# How often to try to copy the card without a write during the copy.
_ATTEMPTS = 20


def image(lab: str, pi: str) -> Path:
    """Return the path of the card's image file."""
    return places.pi_disk(lab, pi) / "card.img"


def create(lab: str, pi: str) -> None:
    """Create a card that is empty except for the folders of the overlay."""
    layers = places.pi_disk(lab, pi) / "layers"
    for part in ("upper", "work"):
        (layers / part).mkdir(parents=True)
        # The upper layer's permissions become those of the Pi's root folder.
        (layers / part).chmod(0o755)
    options: list[str | Path] = ["-q", "-t", "ext4", "-E", "lazy_itable_init=0,root_owner=0:0", "-d", layers]
    run(["mke2fs", *options, image(lab, pi), SIZE])


def copy_consistently(lab: str, pi: str) -> Path:
    """Copy the card while nothing is written to it, and return the copy. Freeze the Pi before.

    Raises LabError if every attempt was disturbed by a write.
    """
    card = image(lab, pi)
    copy = card.with_suffix(".cut")
    for _ in range(_ATTEMPTS):
        before = os.stat(card).st_mtime_ns
        run(["cp", "--sparse=always", card, copy], timeout=300)
        if os.stat(card).st_mtime_ns == before:
            return copy
    raise LabError(f"{card} is written to all the time: no consistent copy could be made")
