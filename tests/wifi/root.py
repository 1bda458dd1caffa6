"""The machine's disk: the containers' root file system, with a kernel and the rig of the air on top."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.virtual_pi import cgroups, places, rootfs
from tests.virtual_pi.commands import SYSTEM_PATH, LabError, last_lines, run

RECIPE = Path(__file__).parent / "recipe"
DISK_SIZE = "4G"  # sparse
_LAYERS = "WIFI-"
_BUILDING = "building-"
_GROUP = "-wifi-build"  # No lab's name begins with a hyphen.

# $1: the root file system, the rest: packages. Its mounts go with their namespace. Names are resolved as this
# machine does; the root's own apt configuration knows the archive.
_INSTALL = f"""
set -eu
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
mkdir "$root/recipe"
mount --bind "{RECIPE}" "$root/recipe"
chroot "$root" sh /recipe/install.sh "$@"
umount "$root/recipe"
rmdir "$root/recipe"
rm "$root/etc/resolv.conf"
"""


@dataclass(frozen=True)
class Layers:
    """Folders that make a root file system: the containers' own, and what a machine has on top of it."""

    base: Path
    machine: Path

    @property
    def kernel(self) -> Path:
        return self._boot("vmlinuz")

    @property
    def initrd(self) -> Path:
        return self._boot("initrd.img")

    def _boot(self, what: str) -> Path:
        return sorted((self.machine / "boot").glob(f"{what}-*"))[-1]


def ready(say: Callable[[str], None]) -> Layers:
    """Return the layers, built now if there are none for this recipe.

    Call it in `places.locked("build")`, and stay there until a Pi's `base` file says that they are in use.
    """
    base = rootfs.ready(say)
    digest = hashlib.sha256(base.name.encode())
    for file in [*sorted(RECIPE.iterdir()), Path(__file__)]:
        digest.update(file.read_bytes())
    layer = places.CACHE / f"{_LAYERS}{digest.hexdigest()[:12]}"
    if not layer.exists():
        say("installing a kernel on top of the Pis' root file system (once; about a minute)")
        begun = time.time()
        _build(base, layer)
        say(f"built {layer} in {time.time() - begun:.0f} s")
        for other in places.CACHE.glob(f"{_LAYERS}*"):
            if other != layer and other not in _in_use():
                shutil.rmtree(other)
    return Layers(base, layer)


def flash(layers: Layers, folder: Path, environment: Mapping[str, str]) -> Path:
    """Make a disk of a new Pi in `folder`, and return it; folder/upper has what is the Pi's own.

    environment: for the recipe's flash.sh, as a container's.
    """
    disk = folder / "disk.img"
    (folder / "base").write_text(str(layers.base))
    (folder / "machine").write_text(str(layers.machine))
    env = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **environment}
    root = str(folder / "root")
    own = ["chroot", root, "sh", "-eu", "-c", rootfs.FLASH.read_text()]
    image = ["mke2fs", "-q", "-t", "ext4", "-d", root, str(disk), DISK_SIZE]
    for command in (own, image):
        run(_stacked([layers.machine, layers.base], folder, command), env=env, timeout=300)
    return disk


def _build(base: Path, layer: Path) -> None:
    lines = (RECIPE / "packages.txt").read_text().splitlines()
    packages = [name for line in lines if (name := line.partition("#")[0].strip())]
    work = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=places.CACHE))
    command = ["sh", "-c", _INSTALL, "install", str(work / "root"), *packages]
    group = cgroups.create(cgroups.base() / _GROUP)
    env = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    done = run(cgroups.joined(group, _stacked([base], work, command)), check=False, timeout=900, env=env)
    cgroups.remove(group)
    log = places.CACHE / "build-wifi.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        shutil.rmtree(work)
        raise LabError(f"the kernel can't be installed ({log}):\n{last_lines(done.stdout + done.stderr)}")
    # The work folder's permissions are the builder's; those of upper/ become the root folder's.
    (work / "upper").chmod(0o755)
    (work / "upper").rename(layer)
    shutil.rmtree(work)


def _stacked(lower: Sequence[Path], folder: Path, command: Sequence[str]) -> list[str]:
    """Return `command` so wrapped that it sees the stack at folder/root; upper/ takes its changes."""
    for part in ("upper", "work", "root"):
        (folder / part).mkdir(exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={folder}/upper,workdir={folder}/work"
    script = 'mount -t overlay overlay -o "$0" "$1" && shift && exec "$@"'
    mount = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, options]
    return [*mount, str(folder / "root"), *command]


def _in_use() -> set[Path]:
    return {Path(file.read_text()) for file in places.DISK.glob("*/*/machine")}
