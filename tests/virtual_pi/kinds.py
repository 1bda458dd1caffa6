"""The kinds of Pis: how the card was flashed. Each has a recipe of its own."""

from __future__ import annotations

from dataclasses import dataclass

from tests.virtual_pi.commands import LabError


@dataclass(frozen=True)
class Kind:
    """A kind of Pi.

    user: the user who may log in over SSH and use sudo.
    configured: the file that appears when the first boot has configured the Pi; None if flashing does that.
    """

    name: str
    user: str
    configured: str | None = None


# Raspberry Pi OS Lite with a user, a key and host keys already on the card.
PLAIN = Kind("plain", user="pi")
# As Raspberry Pi Imager writes trixie: at the first boot cloud-init makes the user, and netplan the profiles.
IMAGER = Kind("imager", user="installer", configured="/var/lib/cloud/data/result.json")

KINDS = {kind.name: kind for kind in (PLAIN, IMAGER)}


def named(name: str) -> Kind:
    """Return the kind of that name. Raises LabError if there is none."""
    if name not in KINDS:
        raise LabError(f"there is no Pi of the kind {name!r}; use {' or '.join(KINDS)}")
    return KINDS[name]
