"""Builds an image, step by step."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.image import boot, clean, disk, mbr, models, sbom, seal, sources
from tools.image.settings import FOLDER, REPOSITORY, Settings
from tools.image.space import BuildError, Space
from tools.image.steps import Steps

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LOCK = REPOSITORY / "requirements/pi.txt"
_PROGRAMS = ("mmdebstrap", "genimage", "mke2fs", "dumpe2fs", "debugfs", "mkfs.vfat", "mcopy", "xz", "unshare")
# It never leaves the build: the profile that it is in is removed before the image is sealed.
_PLACEHOLDER = "a-placeholder-of-the-image"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Places:
    """Where a build works: everything is below one folder, which keeps the downloaded packages."""

    cache: Path
    name: str

    @property
    def work(self) -> Path:
        """The folder of this image, which each build begins by removing."""
        return self.cache / self.name

    @property
    def root(self) -> Path:
        """The root file system."""
        return self.work / "root"

    @property
    def packages(self) -> Path:
        """The downloaded packages of all builds."""
        return self.cache / "packages"

    @property
    def parts(self) -> Path:
        """The folder of the partitions' contents and files."""
        return self.work / "parts"

    @property
    def log(self) -> Path:
        """What the tools printed."""
        return self.work / "build.log"


class Build:
    """A build of one image. `run` does all of it."""

    def __init__(self, settings: Settings, cache: Path, out: Path, steps: Steps) -> None:
        self.settings = settings
        self.places = Places(cache, settings.name)
        self.out = out
        self.steps = steps
        self._emulator = None if settings.architecture == _debian_architecture() else _emulator()
        self._identity: disk.Identity | None = None

    def run(self) -> Path:
        """Build the image, and return its compressed file. Raises BuildError."""
        _require_machine()
        shutil.rmtree(self.places.work, ignore_errors=True)
        for folder in (self.places.work, self.places.packages, self.places.work / "tmp", self.places.parts):
            folder.mkdir(parents=True, exist_ok=True)
        with self.steps.step("root file system from Debian's packages"):
            self.make_root()
        with self.steps.step("files of the roles (playbooks/image.yml)"):
            self.apply_roles()
        with self.steps.step("initrd"):
            self.pack_initrd()
        with self.steps.step("check of the promised models"):
            self.check_models()
        with self.steps.step("seal"):
            self.seal()
        with self.steps.step("manifest and SBOM"):
            self.write_manifest()
        with self.steps.step("partitions"):
            self.write_partitions()
        with self.steps.step("disk"):
            image = self.assemble()
        with self.steps.step("compression and SHA-256"):
            return self.publish(image)

    def make_root(self) -> None:
        """Install the packages."""
        apt = sources.of_local_machine()
        work = self.places.work
        (work / "debian.sources").write_text(apt.sources(self.settings))
        (work / "apt.conf").write_text("".join(f"{line}\n" for line in apt.options))
        (work / "modules").write_text("".join(f"{name}\n" for name in self.settings.modules()))
        space = Space((self.places.cache,), network=True, emulator=self._emulator)
        command = [FOLDER / "root.sh", self.places.root, work, self.places.packages]
        names = self.settings.packages()
        if self.settings.kernel == "backports":
            kernel = self.settings.kernel_package
            names = [f"{name}/{sources.BACKPORTS}" if name == kernel else name for name in names]
        space.run(
            command,
            self.places.log,
            self._environment(
                ARCHITECTURE=self.settings.architecture,
                PACKAGES=",".join(names),
                KEYRING=KEYRING,
            ),
        )

    def apply_roles(self) -> None:
        """Play playbooks/image.yml over the root file system."""
        # What the roles install comes from this cache; the build space has no network.
        wheels = self.places.cache / "wheelhouse"
        fetch: list[str | Path] = [sys.executable, "tools/wheelhouse.py", "--fetch", "--cache", wheels]
        _run(fetch, self.places.log)
        command: list[str | Path] = [
            *(sys.executable, "tools/playbook.py", "playbooks/image.yml"),
            *("--inventory", FOLDER / "inventory/hosts.yml"),
            *("--extra-vars", f"files_root={self.places.root} concentrator_cache={wheels}"),
            *("--extra-vars", f"image_placeholder_psk={_PLACEHOLDER}"),
        ]
        self._in_root().run(
            command,
            self.places.log,
            self._environment(
                ANSIBLE_REMOTE_TEMP="/dev/shm/ansible",  # noqa: S108 - of the build space
                ANSIBLE_CACHE_PLUGIN_CONNECTION=str(self.places.work / "facts"),
                PYTHONDONTWRITEBYTECODE="1",
            ),
        )

    def pack_initrd(self) -> None:
        """Pack the initrd and list its files."""
        files = self.places.work / "initrd.txt"
        self._in_root().run(
            [FOLDER / "initrd.sh", self.places.root, files], self.places.log, self._environment()
        )

    def check_models(self) -> None:
        """Compare the kernel with what each promised model needs."""
        if self.settings.architecture != "arm64":
            return
        promised = models.BACKPORTS if self.settings.kernel == "backports" else models.STABLE
        version = models.kernel_version(self.places.root)
        files = (self.places.work / "initrd.txt").read_text().splitlines()
        kernel = models.read_kernel(self.places.root, version, files)
        if problems := [problem for model in promised for problem in models.missing(model, kernel)]:
            raise BuildError(
                f"the kernel {version} does not run on all promised models:\n" + "\n".join(problems)
            )

    def seal(self) -> None:
        """Remove the traces of the build, and check that nothing breaks the seal."""
        clean.clean(self.places.root)
        clean.set_times(self.places.root, self.settings.epoch)
        if problems := seal.broken(self.places.root):
            raise BuildError("the image can't be sealed:\n" + "\n".join(map(str, problems)))

    def write_manifest(self) -> None:
        """Write the manifest and the SBOM. The identities of the disk follow from them."""
        packages = sbom.installed_packages((self.places.root / "var/lib/dpkg/status").read_text())
        packages += sbom.build_tools(self.places.work / "grub.tsv")
        wheels = sbom.locked_wheels(_LOCK.read_text())
        text = sbom.manifest(packages, wheels)
        digest = self.settings.digest(text)
        self._identity = disk.Identity(digest)
        serial = self._identity.uuid("sbom")
        self.out.mkdir(parents=True, exist_ok=True)
        self._result("manifest.tsv").write_text(text)
        document = sbom.cyclonedx(
            *(self.settings.name, packages, wheels),
            version=digest[:12],
            epoch=self.settings.epoch,
            serial=serial,
        )
        self._result("cdx.json").write_text(document)

    def write_partitions(self) -> None:
        """Write each partition's file system to a file."""
        parts, root = self.places.parts, self.places.root
        contents = {partition: parts / partition.label for partition in disk.PARTITIONS}
        for folder in contents.values():
            folder.mkdir()
        site, first = contents[disk.SITE], contents[disk.BOOT_A]
        if self.settings.architecture == "arm64":
            boot.write_pi(root, self.identity, site, first)
        else:
            boot.write_pc(root, self.identity, self.places.work / "grub", site, first)
        boot.write_fstab(root, self.identity)
        boot.remove_from_root(root)
        for folder in (root, *contents.values()):
            clean.set_times(folder, self.settings.epoch)
        for partition, folder in contents.items():
            if partition.is_fat:
                self._write_fat(partition, folder)
            else:
                self._write_ext4(partition, root if partition is disk.ROOT_A else None)

    def assemble(self) -> Path:
        """Make the disk of the partitions, and return its file."""
        parts = self.places.parts
        name = f"{self.settings.name}.img"
        grub = self.places.work / "grub"
        if grub.is_dir():
            # The partition table follows the boot loader in the first sector.
            (parts / "boot.img").write_bytes((grub / "boot.img").read_bytes()[: disk.TABLE])
            shutil.copyfile(grub / "core.img", parts / "core.img")
        config = self.places.work / "genimage.cfg"
        config.write_text(disk.genimage_config(self.identity, name, grub.is_dir()))
        empty = self.places.work / "empty"
        empty.mkdir(exist_ok=True)
        command: list[str | Path] = ["genimage", "--config", config, "--rootpath", empty]
        command += ["--inputpath", parts, "--outputpath", self.places.work]
        command += ["--tmppath", self.places.work / "genimage"]
        _run(command, self.places.log, self._environment())
        image = self.places.work / name
        if problems := list(disk.layout_problems(mbr.read(image))):
            raise BuildError("genimage made another layout:\n" + "\n".join(problems))
        return image

    def publish(self, image: Path) -> Path:
        """Compress the disk, and write its SHA-256."""
        result = self._result("img.xz")
        # Blocks of a fixed size: the result does not depend on the number of processors.
        command = f"xz -3 --threads=2 --block-size=24MiB --stdout {image} > {result}"
        _run(["sh", "-c", command], self.places.log)
        with result.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._result("img.xz.sha256").write_text(f"{digest}  {result.name}\n")
        return result

    @property
    def identity(self) -> disk.Identity:
        """The identity of the build's inputs, known once the packages are."""
        assert self._identity is not None  # noqa: S101 - write_manifest comes first
        return self._identity

    def _write_fat(self, partition: disk.Partition, folder: Path) -> None:
        file = self.places.parts / partition.file
        environment = self._environment()
        _run(disk.fat_command(self.identity, partition, file), self.places.log, environment)
        if entries := sorted(folder.iterdir()):
            copy: list[str | Path] = ["mcopy", "-i", file, "-s", "-p", "-m", "-Q", *entries, "::"]
            _run(copy, self.places.log, environment)

    def _write_ext4(self, partition: disk.Partition, content: Path | None) -> None:
        file = self.places.parts / partition.file
        environment = self._environment()
        _run(disk.ext4_command(self.identity, partition, content, file), self.places.log, environment)
        read = subprocess.run(
            ["dumpe2fs", "-h", str(file)], check=True, capture_output=True, text=True, env=environment
        )
        script = self.places.work / "times"
        script.write_text(disk.times_script(self.settings.epoch, disk.used_inodes(read.stdout)))
        # Its output repeats each command.
        debugfs: list[str | Path] = ["sh", "-c", 'exec debugfs -w -f "$0" "$1" > /dev/null', script, file]
        _run(debugfs, self.places.log, environment)

    def _in_root(self) -> Space:
        return Space((self.places.cache,), emulator=self._emulator, root=self.places.root)

    def _environment(self, **more: str) -> dict[str, str]:
        temporary = str(self.places.work / "tmp")
        return {
            "PATH": _PATH,
            "HOME": temporary,
            "TMPDIR": temporary,
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "SOURCE_DATE_EPOCH": str(self.settings.epoch),
            # mke2fs older than 1.47.1 does not know SOURCE_DATE_EPOCH.
            "E2FSPROGS_FAKE_TIME": str(self.settings.epoch),
            **more,
        }

    def _result(self, suffix: str) -> Path:
        return self.out / f"{self.settings.name}.{suffix}"


def _run(command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None) -> None:
    words = [str(word) for word in command]
    with log.open("ab") as output:
        done = subprocess.run(
            words,
            check=False,
            cwd=REPOSITORY,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BuildError(f"{words[0]} failed with exit status {done.returncode} ({log}):\n{last}")


def _require_machine() -> None:
    if os.geteuid() != 0:
        raise BuildError("an image is built as root, so that its files have their owners: use make image")
    if missing := [name for name in _PROGRAMS if not shutil.which(name, path=_PATH)]:
        raise BuildError(f"missing programs: {', '.join(missing)}; install them with: tools/setup image")


def _debian_architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _emulator() -> Path:
    """Return QEMU for arm64 programs, which tools/setup unpacks without registering it on this machine."""
    folder = REPOSITORY / ".cache/emulator/usr/bin"
    # Debian 12 and 13 name it differently.
    for path in (folder / "qemu-aarch64-static", folder / "qemu-aarch64"):
        if path.exists():
            return path.resolve()
    raise BuildError("missing program: qemu-aarch64-static; install it with: tools/setup image")
