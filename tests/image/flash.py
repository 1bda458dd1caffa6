"""Writes an image to a card, as Raspberry Pi Imager does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = Path(os.environ.get("IMAGE", REPOSITORY / "dist/smart-meter-amd64.img.xz"))
IMAGE_ARM64 = Path(os.environ.get("IMAGE_ARM64", REPOSITORY / "dist/smart-meter-arm64.img.xz"))
CARD = 4 * 1024**3
"""The size of a card."""


def flash(image: Path, card: Path, size: int = CARD) -> None:
    """Write an image to a card of this size."""
    with card.open("wb") as file:
        subprocess.run(["xz", "--decompress", "--stdout", image], check=True, stdout=file)
    os.truncate(card, size)
