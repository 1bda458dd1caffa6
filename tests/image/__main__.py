"""Runs the tests with booted images, one module after another: `python -m tests.image [MODULE ...]`.

A module that has passed with the same images and tests is not repeated, so an interrupted run goes on where
it was. `--again` forgets that.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from pathlib import Path

from tests.image.flash import IMAGE, IMAGE_ARM64, REPOSITORY

# The quick ones first: what is wrong with all images shows early.
MODULES = (
    *("boot", "site_card", "state", "boot_time", "bad_cards", "radio", "cuts", "power", "writes"),
    *("base", "arm64"),
)
PASSED = REPOSITORY / ".cache/image-tests"


def main() -> int:
    """Run the modules, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--again", action="store_true", help="also those that have passed")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"no module {', '.join(sorted(unknown))}; use {', '.join(MODULES)}")
    inputs = _digest()
    failed = []
    for number, module in enumerate(wanted := options.modules or MODULES, 1):
        stamp = PASSED / module
        print(f"[{number}/{len(wanted)}] {module}", flush=True)
        if not options.again and stamp.exists() and stamp.read_text() == inputs:
            print("  it has passed with these images and tests")
        elif _run(module):
            PASSED.mkdir(parents=True, exist_ok=True)
            stamp.write_text(inputs)
        else:
            failed.append(module)
    print(f"failed: {', '.join(failed)}" if failed else "all have passed")
    return 1 if failed else 0


def _run(module: str) -> bool:
    started = time.monotonic()
    arguments = ["-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=none", "-v", "-s"]
    file = f"tests/image/test_{module}.py"
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments, file], cwd=REPOSITORY, check=False)
    print(f"  {time.monotonic() - started:.0f} s", flush=True)
    return done.returncode == 0


def _digest() -> str:
    """Return what identifies the images and the tests."""
    digest = hashlib.sha256()
    files = sorted([*Path(__file__).parent.glob("*.py"), *(REPOSITORY / "tests/virtual_pi").glob("*.py")])
    for path in (IMAGE, IMAGE_ARM64, *files):
        if path.exists():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
