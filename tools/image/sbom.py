"""What an image consists of: the package manifest, and the same as a CycloneDX SBOM."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, order=True)
class Package:
    """A Debian package of the image. source: the source package, with its version if that differs."""

    name: str
    version: str
    architecture: str
    source: str
    maintainer: str = ""

    @property
    def purl(self) -> str:
        """Its package URL (https://github.com/package-url/purl-spec, type deb)."""
        package = f"{self.name}@{quote(self.version, safe='')}?arch={self.architecture}"
        if "+rpt" in self.version:
            # Raspberry Pi's own build: Debian's advisories do not cover it.
            return f"pkg:deb/raspberrypi/{package}"
        return f"pkg:deb/debian/{package}&distro=debian-13"


@dataclass(frozen=True, order=True)
class Wheel:
    """A locked Python package of the image, with the SHA-256 hashes that the lock permits."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """Its package URL (type pypi)."""
        return f"pkg:pypi/{self.name}@{quote(self.version, safe='')}"


def installed_packages(status: str) -> list[Package]:
    """Return the installed packages of dpkg's status file, sorted."""
    packages = []
    for paragraph in re.split(r"\n\n+", status.strip()):
        # A line that begins with a space continues the field before it.
        fields: dict[str, str] = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").split()[-1:] == ["installed"]:
            name, version = fields["Package"], fields["Version"]
            source = fields.get("Source", name)
            packages.append(
                Package(name, version, fields["Architecture"], source, fields.get("Maintainer", ""))
            )
    return sorted(packages)


def locked_wheels(lock: str) -> list[Wheel]:
    """Return the packages of a lock with hashes (requirements/pi.txt), sorted."""
    joined = re.sub(r"\\\n", " ", lock)
    return sorted(
        Wheel(match[1].lower(), match[2], tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", match[3])))
        for match in re.finditer(r"^([A-Za-z0-9._-]+)==([^\s;]+)(.*)$", joined, re.MULTILINE)
    )


def installed_wheels(root: Path, lock: Iterable[Wheel]) -> list[Wheel]:
    """Return the Python packages of the concentrator's releases in a root file system, sorted.

    lock: gives the hashes; our own package has none.
    """
    locked = {(wheel.name, wheel.version): wheel for wheel in lock}
    found = set()
    for path in root.glob("opt/smart-meter/releases/*/lib/python3*/site-packages/*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        plain = name.lower().replace("_", "-")
        found.add(locked.get((plain, version), Wheel(plain, version)))
    return sorted(found)


def manifest(packages: Iterable[Package], wheels: Iterable[Wheel]) -> str:
    """Return the manifest: a line for each package with its name, version and architecture, sorted."""
    lines = [f"{p.name}\t{p.version}\t{p.architecture}\n" for p in packages]
    return "".join(lines + [f"{w.name}\t{w.version}\tpython\n" for w in wheels])


def cyclonedx(
    name: str, packages: Iterable[Package], wheels: Iterable[Wheel], *, version: str, epoch: int, serial: str
) -> str:
    """Return a CycloneDX 1.5 document (ECMA-424) as JSON.

    name, version: of the image. epoch: the time stamp, in Unix seconds. serial: a UUID.
    """
    stamp = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    components = [_of_package(package) for package in packages] + [_of_wheel(wheel) for wheel in wheels]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": stamp,
            "component": {"type": "operating-system", "bom-ref": "image", "name": name, "version": version},
        },
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [component["bom-ref"] for component in components]}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _of_package(package: Package) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": package.purl,
        "supplier": {"name": re.sub(r"\s*<.*>", "", package.maintainer) or "Debian"},
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "properties": [{"name": "debian:source", "value": package.source}],
    }


def _of_wheel(wheel: Wheel) -> dict[str, Any]:
    # The lock has a hash for each file of the release; which of them is installed depends on the platform.
    return {
        "type": "library",
        "bom-ref": wheel.purl,
        "name": wheel.name,
        "version": wheel.version,
        "purl": wheel.purl,
        "properties": [{"name": "pip:locked-sha256", "value": value} for value in wheel.hashes],
    }


def build_tools(table: Path) -> list[Package]:
    """Return packages that the image has files of but that are not installed (customize.sh lists them)."""
    if not table.is_file():
        return []
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    return [Package(name, version, architecture, "grub2") for name, version, architecture in rows]
