"""What an image is built for, and everything that a build depends on."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent
ARCHITECTURES = ("arm64", "amd64")
KERNELS = ("stable", "backports")
SUITE = "trixie"


class SettingsError(Exception):
    """The image can't be built like this. The text gives the setting, and how to fix it."""


@dataclass(frozen=True)
class Settings:
    """architecture: Debian's name. kernel: stable, or backports for the Pi 5. epoch: no file is newer.

    base: a downloaded Raspberry Pi OS Lite, whose packages, kernels and firmware are used.
    """

    architecture: str
    kernel: str
    epoch: int
    base: Path | None = None

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise SettingsError(
                f"image_architecture: {self.architecture!r} is not one of {', '.join(ARCHITECTURES)}"
            )
        if self.kernel not in KERNELS:
            raise SettingsError(f"image_kernel: {self.kernel!r} is not one of {', '.join(KERNELS)}")
        if self.base and self.kernel != "stable":
            raise SettingsError(
                f"image_kernel: {self.kernel}: leave it out, since image_base has kernels for all models"
            )

    @property
    def name(self) -> str:
        """The beginning of the names of the image's files."""
        suffix = "" if self.kernel == "stable" else f"-{self.kernel}"
        if self.base:
            suffix = "-raspios"
        return f"smart-meter-{self.architecture}{suffix}"

    @property
    def kernel_package(self) -> str:
        """The name of the package that depends on the current kernel."""
        return f"linux-image-{self.architecture}"

    @property
    def root_mib(self) -> int:
        """The size of a root file system in MiB. Raspberry Pi OS has more packages than Debian needs here."""
        return 3072 if self.base else 1024

    def packages(self) -> list[str]:
        """Return the packages that the root is made of; the others are their dependencies."""
        if self.base:
            return sorted(_listed("packages/common.txt"))
        names = [*_listed("packages/common.txt"), *_listed(f"packages/{self.architecture}.txt")]
        return sorted({*names, self.kernel_package})

    def modules(self) -> list[str]:
        """Return the kernel modules of the initrd; a kernel that has one built in skips it."""
        return _listed(f"modules/{self.architecture}.txt")

    def inputs(self) -> str:
        """Return what identifies the inputs except the versions of packages and the epoch."""
        return replace(self, epoch=0).digest("")

    def digest(self, manifest: str) -> str:
        """Return what identifies a build's inputs: settings, packages with versions, and this repository."""
        digest = hashlib.sha256(f"{self.architecture} {self.kernel} {self.epoch}\n{manifest}".encode())
        if self.base:
            digest.update(_digest_of(self.base))
        for path in _tracked():
            digest.update(path.encode() + b"\0" + (REPOSITORY / path).read_bytes() + b"\0")
        return digest.hexdigest()


def _digest_of(base: Path) -> bytes:
    try:
        with base.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise SettingsError(
            f"image_base: {base} can't be read: {error.strerror}; "
            "give the path of an unpacked Raspberry Pi OS Lite"
        ) from error


def source_epoch() -> int:
    """Return SOURCE_DATE_EPOCH, or the time of this repository's last commit (reproducible-builds.org)."""
    value = os.environ.get("SOURCE_DATE_EPOCH")
    if value is None:
        value = _git("log", "-1", "--format=%ct").strip()
    if not value.isdigit():
        raise SettingsError(f"SOURCE_DATE_EPOCH: {value!r} is not a number of seconds since 1970")
    return int(value)


def removed_packages() -> list[str]:
    """Return the packages of Raspberry Pi OS that an appliance does not have."""
    return _listed("packages/base-removed.txt")


def disabled_units() -> list[str]:
    """Return the units of Raspberry Pi OS that change the card, or let a user in."""
    return _listed("base-units.txt")


def _tracked() -> list[str]:
    """Return the files that reach the image, or decide what does, also those that are not committed."""
    folders = ("src", "roles", "templates", "playbooks", "tools", "requirements", "pyproject.toml")
    names = _git("ls-files", "-z", "-co", "--exclude-standard", "--", *folders).split("\0")
    return sorted(name for name in set(names) if name and (REPOSITORY / name).is_file())


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SettingsError(f"git {arguments[0]} failed: build from a clone, with git installed") from error
    return done.stdout


def _listed(name: str) -> list[str]:
    """Return the names in a list with comments."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [word for line in lines if (word := line.partition("#")[0].strip())]
