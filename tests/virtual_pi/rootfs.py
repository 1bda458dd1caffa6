"""The root file system that all Pis share. It is rebuilt when its recipe has changed or it gets old."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.virtual_pi import archive, cgroups, places
from tests.virtual_pi.commands import SYSTEM_PATH, LabError, last_lines, run

# Old enough to be reused often, young enough that a Pi's first `apt-get upgrade` is short.
MAX_AGE_DAYS = 14
RECIPE = Path(__file__).parent / "recipe"
FLASH = RECIPE / "flash.sh"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_BUILDING = "building-"
_GROUP = "-build"  # No lab's name begins with a hyphen.


def ready(log: Callable[[str], None]) -> Path:
    """Return the folder of a current root file system; build it if there is none.

    Call this within `places.locked("build")`, and keep the lock until a Pi's `base` file refers to the
    folder.
    """
    source = archive.of_local_machine()
    recipe = _digest(source)
    found = sorted(places.CACHE.glob(f"ROOT-{recipe}-*"))
    if found and time.time() - int(found[-1].name.rpartition("-")[2]) < MAX_AGE_DAYS * 86400:
        return found[-1]
    _remove_leftovers()
    log("building the Pis' root file system (once; about a minute)")
    started = time.time()
    root = places.CACHE / f"ROOT-{recipe}-{int(started)}"
    _build(source, root)
    log(f"built {root} in {time.time() - started:.0f} s")
    _remove_unused(root)
    return root


def _digest(source: archive.Archive) -> str:
    digest = hashlib.sha256(f"{platform.machine()} {source}".encode())
    for file in [*sorted(RECIPE.iterdir()), Path(__file__)]:
        digest.update(file.read_bytes())
    for file in source.authorities:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _build(source: archive.Archive, root: Path) -> None:
    names = (line.partition("#")[0].strip() for line in (RECIPE / "packages.txt").read_text().splitlines())
    # Built under another name and then renamed, so that an incomplete one is never used.
    work = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=places.CACHE))
    work.chmod(0o755)
    sources = work / "debian.sources"
    sources.write_text(source.sources)
    hooks = [
        'rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*',
        f'install -D -m 644 "{sources}" "$1/etc/apt/sources.list.d/debian.sources"',
        *(f'install -D -m 644 "{file}" "$1{file}"' for file in source.authorities),
        *(['chroot "$1" update-ca-certificates'] if source.authorities else []),
        f'"{RECIPE / "customize.sh"}" "$1"',
    ]
    # In a separate mount namespace, so that no mount stays behind even if the build crashes.
    command: list[str | Path] = [
        "unshare",
        "--mount",
        "--propagation",
        "slave",
        "mmdebstrap",
        "--variant=minbase",
    ]
    command += [f"--include={','.join(name for name in names if name)}", f"--keyring={_KEYRING}"]
    command += [f"--aptopt={line}" for line in source.options]
    command += [f"--customize-hook={hook}" for hook in hooks]
    command += ["trixie", work / "root", sources]
    log = places.CACHE / "build.log"
    group = cgroups.create(cgroups.base() / _GROUP)
    environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
    done = run(cgroups.in_group(group, command), check=False, timeout=1800, env=environment)
    cgroups.remove(group)
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        shutil.rmtree(work)
        raise LabError(f"mmdebstrap failed ({log}):\n{last_lines(done.stderr)}")
    # Sync before renaming, so that a power cut of this machine can't leave empty files under the final name.
    run(["sync", "--file-system", work], timeout=600)
    (work / "root").rename(root)
    shutil.rmtree(work)


def _remove_leftovers() -> None:
    """Remove what a killed build has left. Thanks to the lock, no other build is running."""
    cgroups.remove(cgroups.base() / _GROUP)
    for folder in places.CACHE.glob(f"{_BUILDING}*"):
        shutil.rmtree(folder)


def _remove_unused(keep: Path) -> None:
    """Remove older root file systems that no Pi uses any more."""
    used = {Path(file.read_text()) for file in places.DISK.glob("*/*/base")}
    for folder in places.CACHE.glob("ROOT-*"):
        if folder != keep and folder not in used:
            shutil.rmtree(folder)
