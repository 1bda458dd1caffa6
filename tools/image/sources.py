"""Where the image's packages come from: the Debian archive that this machine uses."""

from __future__ import annotations

from dataclasses import dataclass

from tests.virtual_pi import archive
from tools.image.settings import SUITE, Settings

BACKPORTS = f"{SUITE}-backports"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Sources:
    """main, security: URIs of the archives. options: lines of apt.conf that this machine needs for them."""

    main: str
    security: str | None
    options: tuple[str, ...]

    def sources(self, settings: Settings) -> str:
        """Return apt's sources for a build, in the deb822 format."""
        suites = [(self.main, SUITE), (self.main, f"{SUITE}-updates"), (self.security, f"{SUITE}-security")]
        if settings.kernel == "backports":
            suites.append((self.main, BACKPORTS))
        return "\n".join(
            # The Wi-Fi firmware of a Pi is in non-free-firmware.
            f"Types: deb\nURIs: {uri}\nSuites: {suite}\n"
            f"Components: main non-free-firmware\nSigned-By: {_KEYRING}\n"
            for uri, suite in suites
            if uri
        )


def of_local_machine() -> Sources:
    """Return the archives that apt on this machine uses."""
    found = archive.of_local_machine()
    return Sources(found.main, found.security, found.options)
