"""Writes file systems and the disk to files, with the machine's own tools and without a mount."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.image import disk, process
from tools.image.process import BuildError
from tools.image.state import mbr

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Tools:
    """Runs the tools of a build.

    work: the folder of the build. epoch: the time that they give to files. note: called with what a tool
    that takes long is doing.
    """

    work: Path
    epoch: int
    note: Callable[[str], None] = lambda _: None

    @property
    def log(self) -> Path:
        """What the tools printed."""
        return self.work / "build.log"

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a tool until it ends. Raises BuildError if it fails."""
        process.run(command, self.log, self.note, self.environment())

    def output(self, command: Sequence[str | Path]) -> str:
        """Run a tool that is quick, and return what it prints."""
        words = [str(word) for word in command]
        environment = self.environment()
        return subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a tool: nothing in it depends on the machine, but the folders."""
        temporary = self.work / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            "PATH": PATH,
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            # mke2fs older than 1.47.1 does not know SOURCE_DATE_EPOCH.
            "E2FSPROGS_FAKE_TIME": str(self.epoch),
            **more,
        }


def write_fat(
    tools: Tools, identity: disk.Identity, partition: disk.Partition, folder: Path, file: Path
) -> None:
    """Make a FAT file system with the content of a folder."""
    tools.run(disk.fat_command(identity, partition, file))
    if entries := sorted(folder.iterdir()):
        tools.run(["mcopy", "-i", file, "-s", "-p", "-m", "-Q", *entries, "::"])


def write_ext4(
    tools: Tools, identity: disk.Identity, partition: disk.Partition, folder: Path | None, file: Path
) -> None:
    """Make an ext4 file system with the content of a folder, or an empty one."""
    tools.run(disk.ext4_command(identity, partition, folder, file))
    inodes = disk.used_inodes(tools.output(["dumpe2fs", "-h", file]))
    script = file.with_suffix(".times")
    script.write_text(disk.times_script(tools.epoch, inodes))
    # Its output repeats each command.
    tools.run(["sh", "-c", 'exec debugfs -w -f "$0" "$1" > /dev/null', script, file])


def write_empty(partition: disk.Partition, file: Path) -> None:
    """Write a partition that has no file system yet."""
    with file.open("wb") as opened:
        opened.truncate(partition.mib * disk.MIB)


def assemble(
    tools: Tools,
    identity: disk.Identity,
    parts: Path,
    name: str,
    grub: Path | None,
    *,
    layout: Sequence[disk.Partition] = disk.PARTITIONS,
) -> Path:
    """Make the disk `name` of the partitions' files in `parts`, and return its file.

    grub: the folder with GRUB's boot.img and core.img. Raises BuildError if genimage makes another layout.
    """
    if grub:
        # The partition table follows the boot loader in the first sector.
        (parts / "boot.img").write_bytes((grub / "boot.img").read_bytes()[: disk.TABLE])
        shutil.copyfile(grub / "core.img", parts / "core.img")
    config = tools.work / "genimage.cfg"
    config.write_text(disk.genimage_config(identity, name, grub is not None, layout))
    # genimage copies this folder, which it would make partitions of.
    empty = tools.work / "empty"
    empty.mkdir(exist_ok=True)
    folders: list[str | Path] = ["--rootpath", empty, "--inputpath", parts, "--outputpath", tools.work]
    tools.run(["genimage", "--config", config, *folders, "--tmppath", tools.work / "genimage"])
    if problems := list(disk.layout_problems(mbr.read(tools.work / name), layout)):
        raise BuildError("genimage made another layout:\n" + "\n".join(problems))
    return tools.work / name
