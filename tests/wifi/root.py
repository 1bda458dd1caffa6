"""The machine's disk: the containers' root file system, plus a kernel and the simulated radios."""

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
from tests.virtual_pi.kinds import PLAIN

RECIPE = Path(__file__).parent / "recipe"
DISK_SIZE = "4G"  # sparse
_LAYERS = "WIFI-"
_BUILDING = "building-"
_GROUP = "-wifi-build"  # No lab's name begins with a hyphen.

# $1: the root file system; the other arguments: packages. The mounts end with their namespace. Names are
# resolved as on this machine, and apt is already configured in the root file system.
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
    """The folders of a root file system: the containers' one, and what a virtual machine adds to it."""

    base: Path
    machine: Path

    @property
    def kernel(self) -> Path:
        return self._boot_file("vmlinuz")

    @property
    def initrd(self) -> Path:
        return self._boot_file("initrd.img")

    def _boot_file(self, what: str) -> Path:
        return sorted((self.machine / "boot").glob(f"{what}-*"))[-1]


def ready(log: Callable[[str], None]) -> Layers:
    """Return the layers; build them if there are none for this recipe.

    Call this within `places.locked("build")`, and keep the lock until a Pi's `base` file refers to them.
    """
    base = rootfs.ready(log)
    digest = hashlib.sha256(base.name.encode())
    for file in [*sorted(RECIPE.iterdir()), Path(__file__)]:
        digest.update(file.read_bytes())
    layer = places.CACHE / f"{_LAYERS}{digest.hexdigest()[:12]}"
    if not layer.exists():
        log("installing a kernel on top of the Pis' root file system (once; about a minute)")
        started = time.time()
        _build(base, layer)
        log(f"built {layer} in {time.time() - started:.0f} s")
        for other in places.CACHE.glob(f"{_LAYERS}*"):
            if other != layer and other not in _in_use():
                shutil.rmtree(other)
    return Layers(base, layer)


def flash(layers: Layers, folder: Path, environment: Mapping[str, str]) -> Path:
    """Create the disk of a new Pi in `folder`, and return it. The Pi's own files are taken from folder/upper.

    environment: for the recipe's flash.sh, as for a container.
    """
    disk = folder / "disk.img"
    (folder / "base").write_text(str(layers.base))
    (folder / "machine").write_text(str(layers.machine))
    env = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", **environment}
    root = str(folder / "root")
    own = ["chroot", root, "sh", "-eu", "-c", rootfs.flash_script(PLAIN)]
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
    done = run(cgroups.in_group(group, _stacked([base], work, command)), check=False, timeout=900, env=env)
    cgroups.remove(group)
    log = places.CACHE / "build-wifi.log"
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        shutil.rmtree(work)
        raise LabError(f"the kernel can't be installed ({log}):\n{last_lines(done.stdout + done.stderr)}")
    # mkdtemp's permissions must not become those of the root folder, which are taken from upper/.
    (work / "upper").chmod(0o755)
    (work / "upper").rename(layer)
    shutil.rmtree(work)


def _stacked(lower: Sequence[Path], folder: Path, command: Sequence[str]) -> list[str]:
    """Return `command` wrapped so that it sees the layers at folder/root, and changes only folder/upper."""
    for part in ("upper", "work", "root"):
        (folder / part).mkdir(exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={folder}/upper,workdir={folder}/work"
    script = 'mount -t overlay overlay -o "$0" "$1" && shift && exec "$@"'
    mount = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, options]
    return [*mount, str(folder / "root"), *command]


def _in_use() -> set[Path]:
    return {Path(file.read_text()) for file in places.DISK.glob("*/*/machine")}
