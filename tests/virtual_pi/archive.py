"""Which Debian archive the machine itself uses: the Pis use the same, and no host name is spelt here."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.virtual_pi.commands import LabError, run

# What a Pi needs to know of the machine's way to the archive; hooks, caches and the rest are the machine's
# own.
_ACQUIRE = re.compile(
    r"Acquire::(https?::(?!Proxy-Auto-Detect)\S+|Check-Date|Check-Valid-Until|ForceIPv4|Max-FutureTime|Retries)"
    r' ".+"'
)
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
# For a machine whose own apt knows no Debian archive.
_ENVIRONMENT = ("VIRTUAL_PI_ARCHIVE", "VIRTUAL_PI_SECURITY_ARCHIVE")


@dataclass(frozen=True)
class Archive:
    """The way to the packages: `main` and `security` are the URIs, `options` are lines of apt.conf."""

    main: str
    security: str | None
    options: tuple[str, ...]

    @property
    def sources(self) -> str:
        """The Pi's apt sources, in the deb822 form that trixie uses."""
        stanzas = [(self.main, "trixie"), (self.security, "trixie-security")]
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n"
            f"Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            for uri, suite in stanzas
            if uri
        )

    @property
    def authorities(self) -> tuple[Path, ...]:
        """The machine's own certificate authorities, if a Pi needs them to trust the archive or its proxy."""
        encrypted = any("https:" in text for text in (self.main, self.security or "", *self.options))
        return tuple(sorted(_LOCAL_AUTHORITIES.rglob("*.crt"))) if encrypted else ()

    @property
    def proxies(self) -> tuple[str, ...]:
        return tuple(
            match[1]
            for line in self.options
            if (match := re.match(r'Acquire::https?::Proxy\S* "(\w+://.+)";', line))
        )

    def first_hops(self) -> list[tuple[str, int]]:
        """Return (IPv4 address, port) of each server that a Pi talks to when it fetches packages: proxy or
        archive.

        Raises LabError where a name can't be resolved.
        """
        hops: set[tuple[str, int]] = set()
        for uri in self.proxies or (self.main, self.security):
            parts = urlsplit(uri or "")
            if not parts.hostname:
                continue
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 80)
            try:
                found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
            except OSError as error:
                raise LabError(
                    f"{uri}: {parts.hostname} has no IPv4 address: {error}; is the network up?"
                ) from error
            hops.update((str(entry[4][0]), port) for entry in found)
        return sorted(hops)


def of_this_machine() -> Archive:
    """Read the machine's apt configuration."""
    main, security = (os.environ.get(name) for name in _ENVIRONMENT)
    if main is None:
        main, security = _from_apt()
    options = [line for line in run(["apt-config", "dump"]).stdout.splitlines() if _ACQUIRE.match(line)]
    options += [
        f'Acquire::{scheme}::Proxy "{proxy}";'
        for scheme in ("http", "https")
        if (proxy := os.environ.get(f"{scheme}_proxy"))
    ]
    # A proxy on the machine's loopback can't be reached from a Pi, which then goes straight to the archive.
    options = [line for line in options if not re.search(r"//(localhost|127\.|\[::1\])", line)]
    return Archive(main, security, tuple(options))


def _from_apt() -> tuple[str, str | None]:
    listing = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)",
            "Created-By: Packages",
        ]
    ).stdout
    main = security = None
    for line in listing.splitlines():
        target, release, component, origin = line.split("|")
        uri = _over_http(target)
        # Before the first `apt-get update` the origin is not known yet: then the archive's usual path must
        # do.
        is_debian = origin == "Debian" or (origin.startswith("$") and "debian" in urlsplit(target).path)
        if component != "main" or not is_debian or not uri:
            continue
        if release.endswith("-security"):
            security = security or uri
        elif "-" not in release:
            main = main or uri
    if main is None:
        raise LabError(
            "this machine's apt knows no Debian archive over http(s) "
            "(see: apt-get indextargets); name one in the environment: "
            f"{_ENVIRONMENT[0]}=URI {_ENVIRONMENT[1]}=URI"
        )
    return main, security


def _over_http(uri: str) -> str | None:
    """Return the URI, or the first one of the mirror list that it names (Debian's cloud images use these)."""
    if uri.startswith("mirror+file:"):
        lines = Path(urlsplit(uri).path.rstrip("/")).read_text().split()
        uri = next((line for line in lines if line.startswith("http")), "")
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None
