"""Where the image's packages come from: the Debian archive that this machine uses."""

from __future__ import annotations

from tools import archive
from tools.image.process import BuildError
from tools.image.settings import SUITE, Settings

BACKPORTS = f"{SUITE}-backports"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def of_local_machine() -> archive.Archive:
    """Return the archive that apt on this machine uses. Raises BuildError if there is none."""
    try:
        return archive.of_local_machine(from_here=True)
    except archive.ArchiveError as error:
        raise BuildError(str(error)) from error


def apt_sources(found: archive.Archive, settings: Settings) -> str:
    """Return apt's sources for a build, in the deb822 format."""
    suites = [(found.main, SUITE), (found.main, f"{SUITE}-updates"), (found.security, f"{SUITE}-security")]
    if settings.kernel == "backports":
        suites.append((found.main, BACKPORTS))
    return "\n".join(
        # The Wi-Fi firmware of a Pi is in non-free-firmware.
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\n"
        f"Components: main non-free-firmware\nSigned-By: {KEYRING}\n"
        for uri, suite in suites
        if uri
    )
