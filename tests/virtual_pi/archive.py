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
    found: dict[bool, str] = {}
    for target, release in [*_known_debian_archives(), *_likely_debian_archives()]:
        uri = _over_http(target)
        is_security = release.endswith("-security")
        if uri and (is_security or "-" not in release):
            found.setdefault(is_security, uri)
    if False not in found:
        raise LabError(
            "this machine's apt knows no Debian archive over http(s) (see: apt-get --print-uris update); "
            f"name one in the environment: {_ENVIRONMENT[0]}=URI {_ENVIRONMENT[1]}=URI"
        )
    return found[False], found.get(True)


def _known_debian_archives() -> list[tuple[str, str]]:
    """Return (URI, release) of each source that says it is Debian's: none before the first update."""
    columns = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
    listing = run(["apt-get", "indextargets", "--format", columns, "Created-By: Packages"]).stdout
    rows = [line.split("|") for line in listing.splitlines()]
    return [
        (uri, release)
        for uri, release, component, origin in rows
        if (component, origin) == ("main", "Debian")
    ]


def _likely_debian_archives() -> list[tuple[str, str]]:
    """Return (URI, release) of each configured source whose path looks like Debian's."""
    listing = run(["apt-get", "--print-uris", "update"]).stdout
    rows = re.findall(r"^'(\S+)/dists/([^/']+)/InRelease'", listing, re.MULTILINE)
    return [(uri, release) for uri, release in rows if "debian" in urlsplit(uri).path]


def _over_http(uri: str) -> str | None:
    """Return the URI, or the first one of the mirror list that it names (Debian's cloud images use these)."""
    if uri.startswith("mirror+file:"):
        lines = Path(urlsplit(uri).path.rstrip("/")).read_text().split()
        uri = next((line for line in lines if line.startswith("http")), "")
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None
