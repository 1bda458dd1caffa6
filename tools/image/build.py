"""Builds an image, step by step."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.image import (
    base,
    boot,
    clean,
    disk,
    firmware,
    install,
    machine,
    models,
    process,
    sbom,
    seal,
    sources,
    within,
    writing,
)
from tools.image.machine import Places
from tools.image.process import BuildError
from tools.image.settings import FOLDER, REPOSITORY, Settings, removed_packages
from tools.image.space import Space
from tools.image.steps import Steps

_LOCK = REPOSITORY / "requirements/pi.txt"
# It never leaves the build: the profile that it is in is removed before the image is sealed.
_PLACEHOLDER = "a-placeholder-of-the-image"


class Build:
    """A build of one image. `run` does all of it."""

    def __init__(self, settings: Settings, cache: Path, out: Path, steps: Steps) -> None:
        self.settings = settings
        self.places = Places(cache, settings.name)
        self.out = out
        self.steps = steps
        self.tools = writing.Tools(self.places.work, settings.epoch, steps.note)
        self._emulator = (
            None if settings.architecture == machine.debian_architecture() else machine.emulator()
        )
        self._identity: disk.Identity | None = None
        self._partitions = disk.partitions(settings.root_mib)
        self._base: base.Base | None = None

    def run(self) -> Path:
        """Build the image, and return its compressed file. Raises BuildError."""
        machine.require()
        if self.settings.base:
            self._base = base.check(self.settings.base, self.settings.architecture, self.settings.root_mib)
        self.places.packages.mkdir(parents=True, exist_ok=True)
        with self._only_build():
            shutil.rmtree(self.places.work, ignore_errors=True)
            self.places.parts.mkdir(parents=True)
            inputs = self.settings.inputs()
            self._result("inputs").unlink(missing_ok=True)
            image = self._steps()
            self._result("inputs").write_text(f"{inputs}\n")
            return image

    def is_current(self) -> bool:
        """Whether the last build was of the same settings and files of this repository, and was completed."""
        inputs = self._result("inputs")
        return (
            self._result("img.xz").exists()
            and inputs.exists()
            and inputs.read_text() == f"{self.settings.inputs()}\n"
        )

    def _steps(self) -> Path:
        origin = self._base.path.name if self._base else "Debian's packages"
        with self.steps.step(f"root file system from {origin}"):
            self.make_root()
        with self.steps.step("files of the roles (playbooks/image.yml)"):
            self.apply_roles()
        with self.steps.step("folders that change, and initrd"):
            self.install_state()
            self.pack_initrd()
        with self.steps.step("check of the promised models"):
            self.check_models()
        with self.steps.step("manifest and SBOM"):
            self.write_manifest()
        with self.steps.step("kernel and boot loader"):
            self.write_boot_files()
        with self.steps.step("seal"):
            self.seal()
        with self.steps.step("partitions"):
            self.write_partitions()
        with self.steps.step("disk"):
            image = self.assemble()
        with self.steps.step("compression and SHA-256"):
            return self.publish(image)

    def make_root(self) -> None:
        """Install the packages."""
        archive = sources.of_local_machine()
        work = self.places.work
        (work / "debian.sources").write_text(sources.apt_sources(archive, self.settings))
        (work / "apt.conf").write_text("".join(f"{line}\n" for line in archive.options))
        (work / "modules").write_text("".join(f"{name}\n" for name in self.settings.modules()))
        if self._base:
            self._adapt(self._base)
            return
        space = Space((self.places.cache,), network=True, emulator=self._emulator)
        command = [FOLDER / "root.sh", self.places.root, work, self.places.packages]
        names = self.settings.packages()
        if self.settings.kernel == "backports":
            kernel = self.settings.kernel_package
            names = [f"{name}/{sources.BACKPORTS}" if name == kernel else name for name in names]
        environment = self.tools.environment(
            ARCHITECTURE=self.settings.architecture, PACKAGES=",".join(names), KEYRING=sources.KEYRING
        )
        space.run(command, self.tools.log, self.steps.note, environment)

    def _adapt(self, downloaded: base.Base) -> None:
        """Make the downloaded root file system that of an appliance."""
        root = self.places.root
        downloaded.extract(root)
        mounted = within.content(root, root / base.FIRMWARE)
        mounted.mkdir(parents=True, exist_ok=True)
        # It is mounted there on a Pi, and the packages' own hooks look for it.
        self.tools.run(["mcopy", "-i", downloaded.fat, "-s", "-n", "-Q", "::*", mounted])
        space = Space((self.places.cache,), network=True, emulator=self._emulator, root=root)
        environment = self.tools.environment(
            ARCHITECTURE=self.settings.architecture,
            PACKAGES=" ".join(self.settings.packages()),
            REMOVED=" ".join(removed_packages()),
            LOGIN=base.LOGIN,
        )
        command = [FOLDER / "base.sh", root, self.places.work, self.places.packages]
        space.run(command, self.tools.log, self.steps.note, environment)
        base.remove_first_boot(root)
        if problems := [*base.first_boot_problems(root), *base.lost_kernels(root)]:
            raise BuildError(
                f"image_base: {downloaded.path} can't be made an appliance:\n" + "\n".join(problems)
            )

    def apply_roles(self) -> None:
        """Play playbooks/image.yml over the root file system."""
        # What the roles install comes from this cache; the build space has no network.
        wheels = self.places.cache / "wheelhouse"
        fetch: list[str | Path] = [sys.executable, "tools/wheelhouse.py", "--fetch", "--cache", wheels]
        # With the user's own settings of pip.
        process.run(fetch, self.tools.log, self.steps.note)
        variables = {
            "files_root": str(self.places.root),
            "concentrator_cache": str(wheels),
            "image_placeholder_psk": _PLACEHOLDER,
        }
        command: list[str | Path] = [
            *(sys.executable, "tools/playbook.py", "playbooks/image.yml"),
            *("--inventory", FOLDER / "inventory/hosts.yml"),
            *("--extra-vars", json.dumps(variables)),
        ]
        self._in_root(
            command,
            ANSIBLE_REMOTE_TEMP="/dev/shm/ansible",  # noqa: S108 - of the build space
            ANSIBLE_CACHE_PLUGIN_CONNECTION=str(self.places.work / "facts"),
            PYTHONDONTWRITEBYTECODE="1",
        )

    def install_state(self) -> None:
        """Install the programs for the state partition, and make the folders on which it is mounted."""
        install.install(self.places.root, self.settings)
        if problems := install.problems(self.places.root):
            raise BuildError("the folders that change are not as listed:\n" + "\n".join(problems))

    def pack_initrd(self) -> None:
        """Pack the initrd of each kernel and list its files."""
        for flavour, version in self._kernels().items():
            self._in_root([FOLDER / "initrd.sh", self.places.root, self._initrd_files(flavour), version])

    def check_models(self) -> None:
        """Compare the kernels with what each promised model needs."""
        for flavour, version in self._kernels().items():
            promised = models.promised(self.settings.architecture, self.settings.kernel)
            if self._base:
                promised = models.RASPBERRY_PI[flavour]
            files = self._initrd_files(flavour).read_text().splitlines()
            kernel = models.read_kernel(self.places.root, version, files)
            problems = [problem for model in promised for problem in models.missing(model, kernel)]
            # Raspberry Pi OS has its own, under other names.
            for model in promised if not self._base else ():
                absent, gaps = firmware.missing(model, self.places.root)
                problems += absent
                for gap in gaps:
                    self.steps.note(gap)
            if problems:
                raise BuildError(
                    f"the kernel {version} does not run on all promised models:\n" + "\n".join(problems)
                )

    def _kernels(self) -> dict[str, str]:
        """Return the version of each kernel by its flavour. Debian's only one has none."""
        root = self.places.root
        if self._base:
            return base.kernels_in([path.name for path in (root / "boot").iterdir()])
        return {"": models.kernel_version(root)}

    def _initrd_files(self, flavour: str) -> Path:
        """Return the file with the list of an initrd's files."""
        return self.places.work / f"initrd{flavour and '-'}{flavour}.txt"

    def seal(self) -> None:
        """Remove the traces of the build, and check that nothing breaks the seal."""
        clean.clean(self.places.root)
        clean.set_times(self.places.root, self.settings.epoch)
        problems = [str(broken) for broken in seal.broken(self.places.root)]
        for partition in self._partitions:
            if partition.is_fat:
                found = seal.broken_on_boot(self.places.content(partition))
                problems += [f"{broken.rule}: {partition.label}: {broken.what}" for broken in found]
        if problems:
            raise BuildError("the image can't be sealed:\n" + "\n".join(problems))

    def write_manifest(self) -> None:
        """Write the manifest and the SBOM. The identities of the disk follow from them."""
        packages = sbom.installed_packages((self.places.root / "var/lib/dpkg/status").read_text())
        packages += sbom.build_tools(self.places.work / "grub.tsv")
        wheels = sbom.installed_wheels(self.places.root, sbom.locked_wheels(_LOCK.read_text()))
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

    def write_boot_files(self) -> None:
        """Write the content of the FAT partitions, and remove it from the root file system."""
        root = self.places.root
        for partition in self._partitions:
            self.places.content(partition).mkdir()
        site, first = (self.places.content(partition) for partition in (disk.SITE, disk.BOOT_A))
        if self._base:
            boot.write_raspberry_pi(root, self.identity, site, first, self._kernels())
        elif self._grub:
            boot.write_pc(root, self.identity, self._grub, site, first)
        else:
            boot.write_pi(root, self.identity, site, first)
        boot.write_fstab(root, self.identity)
        boot.remove_from_root(root)

    def write_partitions(self) -> None:
        """Write each partition's file system to a file."""
        for partition in self._partitions:
            folder = self.places.content(partition)
            file = self.places.parts / partition.file
            if partition.is_fat:
                clean.set_times(folder, self.settings.epoch)
                writing.write_fat(self.tools, self.identity, partition, folder, file)
            elif partition.is_empty:
                writing.write_empty(partition, file)
            else:
                content = self.places.root if partition.number == disk.ROOT_A.number else None
                writing.write_ext4(self.tools, self.identity, partition, content, file)

    def assemble(self) -> Path:
        """Make the disk of the partitions, and return its file."""
        name = f"{self.settings.name}.img"
        parts = self.places.parts
        return writing.assemble(self.tools, self.identity, parts, name, self._grub, layout=self._partitions)

    def publish(self, image: Path) -> Path:
        """Compress the disk, and write its SHA-256."""
        result = self._result("img.xz")
        # Blocks of a fixed size: the result does not depend on the number of processors.
        command = 'exec xz -1 --threads=2 --block-size=24MiB --stdout "$0" > "$1"'
        self.tools.run(["sh", "-c", command, image, result])
        with result.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._result("img.xz.sha256").write_text(f"{digest}  {result.name}\n")
        return result

    @contextmanager
    def _only_build(self) -> Iterator[None]:
        """Keep other builds out of the cache; the kernel releases it if this process dies."""
        with (self.places.cache / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BuildError(
                    f"another build uses {self.places.cache}: wait for it, or choose another folder (--cache)"
                ) from None
            yield

    @property
    def identity(self) -> disk.Identity:
        """The identity of the build's inputs, known once the packages are."""
        assert self._identity is not None  # noqa: S101 - write_manifest comes first
        return self._identity

    @property
    def _grub(self) -> Path | None:
        """The folder of GRUB, which a PC has instead of a Pi's boot firmware."""
        is_pc = self.settings.architecture == "amd64" and not self._base
        return self.places.work / "grub" if is_pc else None

    def _in_root(self, command: Sequence[str | Path], **environment: str) -> None:
        """Run a command in a build space without a network, with the root prepared for a chroot."""
        space = Space((self.places.cache,), emulator=self._emulator, root=self.places.root)
        tools = self.tools
        space.run(command, tools.log, tools.note, tools.environment(**environment))

    def _result(self, suffix: str) -> Path:
        return self.out / f"{self.settings.name}.{suffix}"
