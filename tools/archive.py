"""Finds the Debian archive that this machine uses; virtual Pis and images use it, too.

So no host name is needed here.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# The apt options that are needed to reach the archive. Hooks, caches and the like only concern the machine.
_ACQUIRE = re.compile(
    r"Acquire::(https?::(?!Proxy-Auto-Detect)\S+|Check-Date|Check-Valid-Until|ForceIPv4|Max-FutureTime|Retries)"
    r' ".+"'
)
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
# For machines whose apt is not configured with a Debian archive.
_ENVIRONMENT = ("VIRTUAL_PI_ARCHIVE", "VIRTUAL_PI_SECURITY_ARCHIVE")


class ArchiveError(Exception):
    """This machine has no Debian archive. The text explains how to set one."""


@dataclass(frozen=True)
class Archive:
    """How to fetch packages. `main` and `security` are URIs, `options` are lines of apt.conf."""

    main: str
    security: str | None
    options: tuple[str, ...]

    def sources(self, suite: str) -> str:
        """Return the apt sources of a Pi with this release of Debian, in the deb822 format."""
        stanzas = [(self.main, suite), (self.security, f"{suite}-security")]
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n"
            f"Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            for uri, suite in stanzas
            if uri
        )

    @property
    def authorities(self) -> tuple[Path, ...]:
        """The machine's local certificate authorities, if the archive or its proxy is reached over https."""
        encrypted = any("https:" in text for text in (self.main, self.security or "", *self.options))
        return tuple(sorted(_LOCAL_AUTHORITIES.rglob("*.crt"))) if encrypted else ()

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies in the options."""
        return tuple(
            match[1]
            for line in self.options
            if (match := re.match(r'Acquire::https?::Proxy\S* "(\w+://.+)";', line))
        )

    def first_hops(self) -> list[tuple[str, int]]:
        """Return the IPv4 address and port of each server that a Pi connects to for packages.

        These are the proxies, or the archives if there is no proxy.
        Raises ArchiveError if a name can't be resolved.
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
                raise ArchiveError(
                    f"{uri}: {parts.hostname} has no IPv4 address: {error}; is the network up?"
                ) from error
            hops.update((str(entry[4][0]), port) for entry in found)
        return sorted(hops)


def of_local_machine(*, from_here: bool = False) -> Archive:
    """Read the machine's apt configuration. Raises ArchiveError if it has no archive.

    from_here: packages are fetched on this machine, which can also use a proxy on its loopback. A Pi can't.
    """
    main, security = (os.environ.get(name) for name in _ENVIRONMENT)
    if main is None:
        main, security = _from_apt()
    options = [line for line in _output("apt-config", "dump").splitlines() if _ACQUIRE.match(line)]
    options += [
        f'Acquire::{scheme}::Proxy "{proxy}";'
        for scheme in ("http", "https")
        if (proxy := os.environ.get(f"{scheme}_proxy"))
    ]
    if not from_here:
        options = [line for line in options if not re.search(r"//(localhost|127\.|\[::1\])", line)]
    return Archive(main, security, tuple(options))


def _from_apt() -> tuple[str, str | None]:
    found: dict[bool, str] = {}
    for target, release in [*_declared_debian_archives(), *_guessed_debian_archives()]:
        uri = _over_http(target)
        is_security = release.endswith("-security")
        if uri and (is_security or "-" not in release):
            found.setdefault(is_security, uri)
    if False not in found:
        raise ArchiveError(
            "apt on this machine has no Debian archive over http(s) (see: apt-get --print-uris update); "
            f"set one in the environment: {_ENVIRONMENT[0]}=URI {_ENVIRONMENT[1]}=URI"
        )
    return found[False], found.get(True)


def _declared_debian_archives() -> list[tuple[str, str]]:
    """Return (URI, release) of each source with the origin Debian; none before the first apt update."""
    columns = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
    listing = _output("apt-get", "indextargets", "--format", columns, "Created-By: Packages")
    rows = [line.split("|") for line in listing.splitlines()]
    return [
        (uri, release)
        for uri, release, component, origin in rows
        if (component, origin) == ("main", "Debian")
    ]


def _guessed_debian_archives() -> list[tuple[str, str]]:
    """Return (URI, release) of each configured source whose path looks like Debian's."""
    listing = _output("apt-get", "--print-uris", "update")
    rows = re.findall(r"^'(\S+)/dists/([^/']+)/InRelease'", listing, re.MULTILINE)
    return [(uri, release) for uri, release in rows if "debian" in urlsplit(uri).path]


def _over_http(uri: str) -> str | None:
    """Return an http(s) URI, or the first one of a mirror list (which Debian's cloud images use)."""
    if uri.startswith("mirror+file:"):
        lines = Path(urlsplit(uri).path.rstrip("/")).read_text().split()
        uri = next((line for line in lines if line.startswith("http")), "")
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
