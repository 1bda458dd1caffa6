"""Collect everything that a Pi installs: the concentrator's own wheel and the locked, hash-checked wheels it runs on.

Nothing is compiled and nothing is fetched on the Pi: the controller does both, once per Python version and architecture,
and keeps the result in a cache. Prints one JSON object: `release` (VERSION+FINGERPRINT, the name of the folder under
/opt/smart-meter/releases) and `folder` (where the wheels and their requirements.txt are).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOCK = REPOSITORY / "requirements" / "pi.txt"
MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def fingerprint(python: str, machine: str) -> str:
    """Return what tells two releases apart: sources, lock, Python version and architecture, as 12 hexadecimal digits."""
    digest = hashlib.sha256(f"{python} {machine}".encode())
    sources = sorted(p for p in (REPOSITORY / "src").rglob("*") if p.is_file() and p.suffix != ".pyc")
    for path in [REPOSITORY / "pyproject.toml", LOCK, *sources]:
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def run(arguments: list[str]) -> None:
    """Run a program of this Python environment; its output is shown only where it fails."""
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
        raise SystemExit(f"wheelhouse: python -m {' '.join(arguments[:2])} failed:\n{done.stdout}")


def collect(folder: Path, python: str, machine: str) -> None:
    """Fill the folder with the wheels and the requirements.txt that names each with its hash."""
    run(["hatchling", "build", "--target", "wheel", "--directory", str(folder)])
    [ours] = folder.glob("*.whl")
    tag = "cp" + python.replace(".", "")
    platforms = [f"--platform=manylinux_2_28_{machine}", f"--platform=manylinux2014_{machine}"]
    abis = [f"--abi={tag}", "--abi=abi3", "--abi=none"]
    run(
        ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        + ["--require-hashes", "--implementation=cp", f"--python-version={python}", *platforms, *abis]
        + [f"--requirement={LOCK}", f"--dest={folder}"]
    )
    name, version = ours.name.split("-")[:2]
    own = f"{name.replace('_', '-')}=={version} --hash=sha256:{hashlib.sha256(ours.read_bytes()).hexdigest()}\n"
    (folder / "requirements.txt").write_text(own + LOCK.read_text())


def main() -> None:
    """Make the wheelhouse where the cache has none, and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the Pi's Python, as 3.13")
    parser.add_argument("--machine", required=True, help="the Pi's architecture, as aarch64")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / ".cache" / "wheelhouse")
    options = parser.parse_args()
    machine = MACHINES.get(options.machine)
    if machine is None:
        raise SystemExit(
            f"wheelhouse: no wheels for architecture {options.machine!r}; "
            f"use a 64-bit Raspberry Pi OS ({', '.join(sorted(set(MACHINES.values())))})"
        )

    identity = fingerprint(options.python, machine)
    sys.path.insert(0, str(REPOSITORY / "src"))
    from smart_meter import __version__  # noqa: PLC0415 - found by the line above

    options.cache.mkdir(parents=True, exist_ok=True)
    folder = options.cache / f"py{options.python}-{machine}-{identity}"
    # Plays run this for several Pis at once: the first builds, the others wait and find it done.
    with (options.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=options.cache, prefix="new-") as made:
                wheels = Path(made, "wheels")
                wheels.mkdir()
                collect(wheels, options.python, machine)
                shutil.move(wheels, folder)
    sys.stdout.write(json.dumps({"release": f"{__version__}+{identity}", "folder": str(folder)}) + "\n")


if __name__ == "__main__":
    main()
