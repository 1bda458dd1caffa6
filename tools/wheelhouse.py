"""Collect everything that a Pi installs: the concentrator's own wheel, and the locked wheels that it runs on.

Nothing is compiled and nothing is fetched on the Pi: the controller does both, once per Python version and
architecture, holds each wheel against its hash, and keeps the result in a cache. What is fetched depends
on the lock alone, so a controller that has it once needs no Internet at the site: `--fetch` gets it all.

For one target it prints a JSON object: `release` (VERSION+FINGERPRINT, the name of the folder under
/opt/smart-meter/releases), `folder` (where the wheels and their requirements.txt are), and `installer` (which
of them is pip).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOCK = REPOSITORY / "requirements" / "pi.txt"
MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
# Raspberry Pi OS trixie and bookworm, and the virtual Pis of the tests.
TARGETS = [("3.13", "aarch64"), ("3.11", "aarch64"), ("3.13", "x86_64")]


def fingerprint(python: str, machine: str) -> str:
    """Return 12 hexadecimal digits of what makes a release: sources, lock, Python, architecture."""
    digest = hashlib.sha256(f"{python} {machine}".encode())
    sources = sorted(p for p in (REPOSITORY / "src").rglob("*") if p.is_file() and p.suffix != ".pyc")
    for path in [REPOSITORY / "pyproject.toml", LOCK, *sources]:
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def run(arguments: list[str], otherwise: str) -> None:
    """Run a program of this Python environment; where it fails, show its output and end with the mend."""
    done = subprocess.run(  # noqa: S603 - the arguments are made here
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-5:])
        raise SystemExit(f"{last}\nwheelhouse: python -m {' '.join(arguments[:2])} failed; {otherwise}")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, and move it to its place only when it is full: one that is there is complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as made:
        filled = Path(made, "wheels")
        filled.mkdir()
        yield filled
        filled.rename(folder)


def fetched(cache: Path, python: str, machine: str) -> Path:
    """Return the folder of the locked wheels for a target, from the cache or from the package index."""
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = cache / f"locked-{lock}-py{python}-{machine}"
    if not folder.is_dir():
        platforms = [f"--platform=manylinux_2_28_{machine}", f"--platform=manylinux2014_{machine}"]
        abis = [f"--abi=cp{python.replace('.', '')}", "--abi=abi3", "--abi=none"]
        with new_folder(folder) as new:
            command = ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
            locked = ["--require-hashes", f"--requirement={LOCK}", f"--dest={new}"]
            run(
                [*command, *target, *platforms, *abis, *locked],
                "without Internet they have to be here before: run `make wheels` where there is Internet",
            )
    return folder


def assemble(folder: Path, locked: Path) -> None:
    """Fill the folder with our own wheel, the locked ones, and a requirements.txt with every hash."""
    run(["hatchling", "build", "--target", "wheel", "--directory", str(folder)], "see its message above")
    [ours] = folder.glob("*.whl")
    name, version = ours.name.split("-")[:2]
    own = (
        f"{name.replace('_', '-')}=={version} --hash=sha256:{hashlib.sha256(ours.read_bytes()).hexdigest()}\n"
    )
    (folder / "requirements.txt").write_text(own + LOCK.read_text())
    for wheel in locked.iterdir():
        shutil.copy2(wheel, folder)


def release(cache: Path, python: str, machine: str) -> dict[str, str]:
    """Return the name of the release for a target, and the folder of its wheels."""
    identity = fingerprint(python, machine)
    version = re.search(r'__version__ = "([^"]+)"', (REPOSITORY / "src/smart_meter/__init__.py").read_text())
    if version is None:
        raise SystemExit('wheelhouse: src/smart_meter/__init__.py: no line __version__ = "..."')
    folder = cache / f"release-{identity}-py{python}-{machine}"
    if not folder.is_dir():
        locked = fetched(cache, python, machine)
        with new_folder(folder) as new:
            assemble(new, locked)
    [installer] = folder.glob("pip-*.whl")
    return {"release": f"{version[1]}+{identity}", "folder": str(folder), "installer": installer.name}


def main() -> None:
    """Parse, and make what the cache does not hold yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", help="the Pi's Python, as 3.13")
    parser.add_argument("--machine", help="the Pi's architecture, as aarch64")
    parser.add_argument(
        "--fetch", action="store_true", help="fetch the locked wheels for every target, and stop"
    )
    parser.add_argument(
        "--cache", type=Path, default=REPOSITORY / ".cache" / "wheelhouse", help="where to keep them"
    )
    options = parser.parse_args()
    if not options.fetch and not (options.python and options.machine):
        parser.error("give --python and --machine, or --fetch")

    options.cache.mkdir(parents=True, exist_ok=True)
    # Plays run this for several Pis at once: the first builds, the others wait and find it done.
    with (options.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if options.fetch:
            for python, machine in TARGETS:
                fetched(options.cache, python, machine)
                sys.stdout.write(f"Python {python} on {machine}: there\n")
            return
        if options.machine not in MACHINES:
            known = ", ".join(sorted(set(MACHINES.values())))
            raise SystemExit(
                f"wheelhouse: no wheels for architecture {options.machine!r}; "
                f"use a 64-bit Raspberry Pi OS ({known})"
            )
        sys.stdout.write(json.dumps(release(options.cache, options.python, MACHINES[options.machine])) + "\n")


if __name__ == "__main__":
    main()
