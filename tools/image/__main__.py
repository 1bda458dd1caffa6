"""Build the image, or compare two builds.

python -m tools.image build --architecture arm64 [--kernel backports] [--cache DIR] [--out DIR] [--if-changed]
python -m tools.image build --base FILE.img
python -m tools.image compare A.img B.img
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.image.build import Build
from tools.image.compare import compare
from tools.image.process import BuildError
from tools.image.settings import ARCHITECTURES, KERNELS, REPOSITORY, Settings, SettingsError, source_epoch
from tools.image.steps import Steps

_STEPS = 10


def main() -> int:
    """Run one of the commands, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("--architecture", choices=ARCHITECTURES, default="arm64")
    build.add_argument("--kernel", choices=KERNELS, default="stable")
    build.add_argument("--base", type=Path, help="a downloaded Raspberry Pi OS Lite")
    build.add_argument("--cache", type=Path, default=REPOSITORY / ".cache/image")
    build.add_argument("--out", type=Path, default=REPOSITORY / "dist")
    build.add_argument(
        "--if-changed",
        action="store_true",
        help="build only if a file of this repository changed since the last build",
    )
    compared = commands.add_parser("compare")
    compared.add_argument("images", type=Path, nargs=2)
    options = parser.parse_args()
    if options.command == "compare":
        return _compare(*options.images)
    return _build(options)


def _build(options: argparse.Namespace) -> int:
    steps = Steps(_STEPS)
    try:
        base = options.base and options.base.resolve()
        settings = Settings(options.architecture, options.kernel, source_epoch(), base)
        build = Build(settings, options.cache.resolve(), options.out.resolve(), steps)
        if options.if_changed and build.is_current():
            print(f"{settings.name}: unchanged since the last build")
            return 0
        image = build.run()
    except (BuildError, SettingsError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    print(f"{image}: {image.stat().st_size / 1e6:.0f} MB, {steps.total:.0f} s")
    return 0


def _compare(first: Path, second: Path) -> int:
    try:
        differences = list(compare(first, second))
    except (BuildError, OSError, ValueError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 2
    print("\n".join(differences) or "the images are equal")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
