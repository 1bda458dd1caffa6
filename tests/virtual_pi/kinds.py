"""The kinds of Pis: how the card was flashed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.virtual_pi.commands import LabError


@dataclass(frozen=True)
class Kind:
    """A kind of Pi.

    user: the user who may log in over SSH and use sudo.
    recipe: the folder in recipe/ with its packages and scripts.
    suite: the release of Debian.
    configured: the file that appears when the first boot has configured the Pi; None if flashing does that.
    """

    name: str
    user: str
    recipe: str = "plain"
    suite: str = "trixie"
    configured: str | None = None


# Raspberry Pi OS Lite with a user, a key and host keys already on the card.
PLAIN = Kind("plain", user="pi")
# As Raspberry Pi Imager writes trixie: at the first boot cloud-init makes the user, and netplan the profiles.
IMAGER = Kind("imager", user="installer", recipe="imager", configured="/var/lib/cloud/data/result.json")
# The plain one with the release before: systemd 252, NetworkManager 1.42, Python 3.11.
BOOKWORM = Kind("bookworm", user="pi", suite="bookworm")

KINDS = {kind.name: kind for kind in (PLAIN, IMAGER, BOOKWORM)}


def named(name: str) -> Kind:
    """Return the kind of that name. Raises LabError if there is none."""
    if name not in KINDS:
        raise LabError(f"there is no Pi of the kind {name!r}; use {', '.join(KINDS)}")
    return KINDS[name]
