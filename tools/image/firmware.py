"""The firmware that the Wi-Fi of each promised model loads from the root file system of Debian's packages.

A Pi without it starts, and has no Wi-Fi.
"""

from __future__ import annotations

from pathlib import Path

from tools.image.models import Model

_FOLDER = "usr/lib/firmware/brcm"
_43430, _43430B0, _43455 = (f"brcmfmac{chip}-sdio.bin" for chip in ("43430", "43430b0", "43455"))
FILES = {
    "Raspberry Pi 3 B": (_43430,),
    "Raspberry Pi 3 B+": (_43455,),
    "Raspberry Pi 4 B": (_43455,),
    # Which of the two it has depends on when it was made.
    "Raspberry Pi Zero 2 W": (_43430, _43430B0),
}
"""The files of each model, by its name. Each revision of a chip has its own (brcmfmac's sdio.c in Linux)."""
KNOWN_GAPS = {_43430B0: "boards with a BCM43430/2"}
"""Files that Debian's packages do not have, and the boards that need them."""


def missing(model: Model, root: Path) -> tuple[list[str], list[str]]:
    """Return what is missing although Debian has it, and the known gaps of a model."""
    absent = [name for name in FILES.get(model.name, ()) if not (root / _FOLDER / name).exists()]
    problems = [f"{model.name}: no firmware brcm/{name}" for name in absent if name not in KNOWN_GAPS]
    gaps = [f"{model.name}: no Wi-Fi on {KNOWN_GAPS[n]} (brcm/{n})" for n in absent if n in KNOWN_GAPS]
    return problems, gaps
