"""Collect everything that a Pi installs: the concentrator's own wheel, and the locked wheels that it runs on.

Nothing is compiled and nothing is fetched on the Pi: the controller does both, once per Python version and
architecture, and keeps the result in a cache. What is fetched depends only on the lock, so a controller
that has it once needs no Internet at the site: `--fetch` gets it all. The cache is not trusted: each time,
the locked wheels are compared with the lock's hashes and our own wheel with the sources of this checkout.

For one target it prints a JSON object: `release` (VERSION+FINGERPRINT, the name of the folder under
/opt/smart-meter/releases), `archive` (the tar file of all wheels), `sum` (its SHA-256, for the Pi to compare
before it unpacks and runs any of them), and `installer` (which of the wheels is pip).
"""

from __future__ import annotations

import argparse
import configparser
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOCK = REPOSITORY / "requirements" / "pi.txt"
MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
# Raspberry Pi OS trixie and bookworm, and the virtual Pis of the tests.
TARGETS = [("3.13", "aarch64"), ("3.11", "aarch64"), ("3.13", "x86_64"), ("3.11", "x86_64")]


def sources() -> list[Path]:
    """Return the files that make up our own wheel, sorted."""
    return sorted(p for p in (REPOSITORY / "src").rglob("*") if p.is_file() and p.suffix != ".pyc")


def fingerprint(python: str, machine: str) -> str:
    """Return 12 hexadecimal digits that identify a release: sources, lock, Python, architecture."""
    digest = hashlib.sha256(f"{python} {machine}".encode())
    for path in [REPOSITORY / "pyproject.toml", LOCK, *sources()]:
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def run(arguments: list[str], otherwise: str) -> None:
    """Run a program of this Python environment; if it fails, show its output and end with the fix."""
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
    """Yield a folder to fill, and move it to its place only when it is complete."""
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
                "without Internet they have to be here before: run `make wheels` on a network with Internet",
            )
    for wheel in sorted(folder.iterdir()):
        check_locked(wheel)
    return folder


def assemble(folder: Path, locked: Path) -> None:
    """Fill the folder with our own wheel and the locked ones."""
    run(["hatchling", "build", "--target", "wheel", "--directory", str(folder)], "see its message above")
    for wheel in locked.iterdir():
        shutil.copy2(wheel, folder)


def normalized(name: str) -> str:
    """Return a project's name in the one spelling that package tools compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project(wheel: Path) -> str:
    """Return the normalized name of the project that a wheel belongs to."""
    return normalized(wheel.name.partition("-")[0])


def locked_hashes() -> dict[str, set[str]]:
    """Return the SHA-256 hashes of each locked project's files."""
    requirements = re.split(r"^(?=[A-Za-z0-9])", LOCK.read_text(), flags=re.MULTILINE)
    return {
        normalized(name[0]): set(re.findall(r"--hash=sha256:([0-9a-f]{64})", requirement))
        for requirement in requirements
        if (name := re.match(r"[A-Za-z0-9._-]+(?===)", requirement))
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse(path: Path, problem: str) -> SystemExit:
    """Return the exception that ends the program because a cached file was changed."""
    return SystemExit(
        f"wheelhouse: {path}: {problem}: it was changed or damaged in the cache. Find out who may write"
        f" there, delete {path.parent}, and run `make wheels`"
    )


def check_locked(wheel: Path) -> None:
    """End the program unless the lock has this file."""
    if sha256(wheel) not in locked_hashes().get(project(wheel), ()):
        raise refuse(
            wheel, f"its SHA-256 is {sha256(wheel)}, which {LOCK.relative_to(REPOSITORY)} does not have"
        )


def check_own(wheel: Path) -> None:
    """End the program unless our own wheel has the files of this checkout and nothing else."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise refuse(wheel, str(error)) from error
    metadata = re.compile(
        r"smart_meter-[^/]+\.dist-info/(METADATA|RECORD|WHEEL|entry_points\.txt|licenses/[^/]+)"
    )
    wanted = {str(path.relative_to(REPOSITORY / "src")): path.read_bytes() for path in sources()}
    packaged = {name: data for name, data in content.items() if not metadata.fullmatch(name)}
    for name, data in packaged.items():
        if wanted.get(name) != data:
            raise refuse(wheel, f"{name} is not what src/ has")
    if missing := sorted(name for name in wanted if name.endswith(".py") and name not in packaged):
        raise refuse(wheel, f"{missing[0]} is missing")
    for name in content.keys() - packaged.keys():
        if name.endswith("entry_points.txt"):
            check_programs(wheel, content[name].decode("utf-8", "replace"))


def check_programs(wheel: Path, entry_points: str) -> None:
    """End the program unless the wheel installs the programs of pyproject.toml and no others."""
    programs = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    programs.optionxform = str  # type: ignore[assignment, method-assign] # names are kept as they are
    programs.read_string(entry_points)
    found = {section: dict(programs[section]) for section in programs.sections()}
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    if found != {"console_scripts": scripts}:
        raise refuse(wheel, f"it would install other programs than {', '.join(scripts)}")


def release(cache: Path, python: str, machine: str) -> dict[str, str]:
    """Return the name of the release for a target, and the archive of its wheels."""
    identity = fingerprint(python, machine)
    version = re.search(r'__version__ = "([^"]+)"', (REPOSITORY / "src/smart_meter/__init__.py").read_text())
    if version is None:
        raise SystemExit('wheelhouse: src/smart_meter/__init__.py: no line __version__ = "..."')
    folder = cache / f"wheels-{identity}-py{python}-{machine}"
    if not folder.is_dir():
        locked = fetched(cache, python, machine)
        with new_folder(folder) as new:
            assemble(new, locked)
    wheels = sorted(folder.iterdir())
    for wheel in wheels:
        if project(wheel) == "smart-meter":
            check_own(wheel)
        else:
            check_locked(wheel)
    archive = folder.with_suffix(folder.suffix + ".tar")
    pack(wheels, archive)
    [installer] = folder.glob("pip-*.whl")
    return {
        "release": f"{version[1]}+{identity}",
        "archive": str(archive),
        "sum": sha256(archive),
        "installer": installer.name,
    }


def pack(wheels: list[Path], archive: Path) -> None:
    """Write the wheels into a tar file, which is the same for the same wheels."""
    new = archive.with_suffix(".new")
    with tarfile.open(new, "w") as packed:
        for wheel in wheels:
            member = tarfile.TarInfo(wheel.name)
            member.size = wheel.stat().st_size
            with wheel.open("rb") as content:
                packed.addfile(member, content)
    new.rename(archive)


def python_version(text: str) -> str:
    """Return a version as it is. Raises ArgumentTypeError if it is not two numbers."""
    if not re.fullmatch(r"3\.[0-9]{1,2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version such as 3.13")
    return text


def main() -> None:
    """Parse the arguments and make what is missing in the cache."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # The Pi gives both, and they become the name of a folder here.
    parser.add_argument("--python", type=python_version, help="the Pi's Python, as 3.13")
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
    # Plays run this for several Pis at once: the first builds, the others wait and use the result.
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
