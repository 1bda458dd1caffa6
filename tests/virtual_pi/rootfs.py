"""The root file systems that all Pis of a kind share.

Each is bootstrapped, except that of the imager: a copy of the plain one with more packages and other files.
They are rebuilt when their recipe has changed or they get old.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.virtual_pi import archive, cgroups, places
from tests.virtual_pi.commands import SYSTEM_PATH, LabError, last_lines, run
from tests.virtual_pi.kinds import IMAGER, KINDS, PLAIN, Kind

# Old enough to be reused often, young enough that a Pi's first `apt-get upgrade` is short.
MAX_AGE_DAYS = 14
RECIPES = Path(__file__).parent / "recipe"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_BUILDING = "building-"
_GROUP = "-build"  # No lab's name begins with a hyphen.
_ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}

# $1: a copy of the plain root file system, $2: customize.sh, the others: packages. The mounts end with their
# namespace. Names are resolved as on this machine, and apt is already configured in the root file system.
_EXTEND = """
set -eu
root=$1
customize=$2
shift 2
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
chroot "$root" apt-get -q update
chroot "$root" apt-get -qy install --no-install-recommends "$@"
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root/usr/sbin/policy-rc.d" "$root/etc/resolv.conf"
"$customize" "$root"
"""


def ready(log: Callable[[str], None], kind: Kind = PLAIN) -> Path:
    """Return the folder of a current root file system for Pis of this kind; build it if there is none.

    Call this within `places.locked("build")`, and keep the lock until a Pi's `base` file refers to the
    folder.
    """
    source = archive.of_local_machine()
    found = _current(source, kind)
    if found:
        return found
    plain = ready(log) if kind == IMAGER else None
    _remove_leftovers()
    log(f"building the root file system of {kind.name} Pis (once; about a minute)")
    started = time.time()
    # A derived one gets old with the one that it is made of.
    made = int(plain.name.rpartition("-")[2]) if plain else int(started)
    root = places.CACHE / f"{_prefix(source, kind)}{made}"
    # Built under another name and then renamed, so that an incomplete one is never used.
    work = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=places.CACHE))
    work.chmod(0o755)
    command = _extend(plain, work) if plain else _bootstrap(source, kind, work)
    _build(command, work, root)
    log(f"built {root} in {time.time() - started:.0f} s")
    _remove_unused({path for each in KINDS.values() if (path := _current(source, each))})
    return root


def flash_script(kind: Kind) -> str:
    """Return the script that runs inside a new Pi's root file system before its first boot."""
    return (RECIPES / kind.recipe / "flash.sh").read_text()


def _current(source: archive.Archive, kind: Kind) -> Path | None:
    """Return the newest root file system of this kind, None if there is none or it is too old."""
    found = sorted(places.CACHE.glob(f"{_prefix(source, kind)}*"))
    if found and time.time() - int(found[-1].name.rpartition("-")[2]) < MAX_AGE_DAYS * 86400:
        return found[-1]
    return None


def _prefix(source: archive.Archive, kind: Kind) -> str:
    """Return what the names of the kind's root file systems begin with; the time of the build follows."""
    digest = hashlib.sha256(f"{platform.machine()} {kind.suite} {source}".encode())
    # The imager's is made of the plain one.
    folders = [RECIPES / name for name in sorted({PLAIN.recipe, kind.recipe})]
    for file in [*(file for folder in folders for file in sorted(folder.iterdir())), Path(__file__)]:
        digest.update(file.read_bytes())
    for file in source.authorities:
        digest.update(file.read_bytes())
    return f"ROOT-{kind.name}-{digest.hexdigest()[:12]}-"


def _packages(kind: Kind) -> list[str]:
    lines = (RECIPES / kind.recipe / "packages.txt").read_text().splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def _bootstrap(source: archive.Archive, kind: Kind, work: Path) -> list[str | Path]:
    """Return the command that makes a root file system at work/root from Debian's packages."""
    sources = work / "debian.sources"
    sources.write_text(source.sources(kind.suite))
    hooks = [
        'rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*',
        f'install -D -m 644 "{sources}" "$1/etc/apt/sources.list.d/debian.sources"',
        *(f'install -D -m 644 "{file}" "$1{file}"' for file in source.authorities),
        *(['chroot "$1" update-ca-certificates'] if source.authorities else []),
        f'"{RECIPES / kind.recipe / "customize.sh"}" "$1"',
    ]
    command: list[str | Path] = ["mmdebstrap", "--variant=minbase"]
    command += [f"--include={','.join(_packages(kind))}", f"--keyring={_KEYRING}"]
    command += [f"--aptopt={line}" for line in source.options]
    command += [f"--customize-hook={hook}" for hook in hooks]
    return [*command, kind.suite, work / "root", sources]


def _extend(plain: Path, work: Path) -> list[str | Path]:
    """Copy the plain root file system to work/root; return the command that makes the imager's of it."""
    run(["cp", "--archive", plain, work / "root"], timeout=600)
    customize = RECIPES / IMAGER.recipe / "customize.sh"
    # In a process namespace of its own, since packages' scripts look for running daemons.
    own = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", _EXTEND, "extend"]
    return [*own, work / "root", customize, *_packages(IMAGER)]


def _build(command: Sequence[str | Path], work: Path, root: Path) -> None:
    """Run a command that makes work/root, and rename that to `root`."""
    # In a separate mount namespace, so that no mount stays behind even if the build crashes.
    separate = ["unshare", "--mount", "--propagation", "slave"]
    log = places.CACHE / "build.log"
    group = cgroups.create(cgroups.base() / _GROUP)
    done = run(cgroups.in_group(group, [*separate, *command]), check=False, timeout=1800, env=_ENVIRONMENT)
    cgroups.remove(group)
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        shutil.rmtree(work)
        raise LabError(f"the root file system was not built ({log}):\n{last_lines(done.stderr)}")
    # Sync before renaming, so that a power cut of this machine can't leave empty files under the final name.
    run(["sync", "--file-system", work], timeout=600)
    (work / "root").rename(root)
    shutil.rmtree(work)


def _remove_leftovers() -> None:
    """Remove what a killed build has left. Thanks to the lock, no other build is running."""
    cgroups.remove(cgroups.base() / _GROUP)
    for folder in places.CACHE.glob(f"{_BUILDING}*"):
        shutil.rmtree(folder)


def _remove_unused(keep: set[Path]) -> None:
    """Remove other root file systems that no Pi uses any more."""
    used = {Path(file.read_text()) for file in places.DISK.glob("*/*/base")}
    for folder in places.CACHE.glob("ROOT-*"):
        if folder not in keep | used:
            shutil.rmtree(folder)
