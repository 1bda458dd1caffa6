"""Makes this Pi's SSH host keys, which no image contains."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# An RSA key takes a Pi 3 many seconds, and every client of the last ten years knows these.
KINDS = ("ed25519", "ecdsa")


def make_missing(folder: Path) -> list[str]:
    """Make the keys that are missing or damaged; return their kinds. Raises OSError.

    A power cut leaves no torn key: each is on the card before it gets its name.
    """
    made = [kind for kind in KINDS if not _is_whole(_key(folder, kind))]
    for kind in made:
        _make(folder, kind)
    return made


def _key(folder: Path, kind: str) -> Path:
    return folder / f"ssh_host_{kind}_key"


def _is_whole(key: Path) -> bool:
    if not key.is_file():
        return False
    return _keygen("-y", "-P", "", "-f", str(key)).returncode == 0


def _make(folder: Path, kind: str) -> None:
    new = folder / ".new-keys"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    try:
        key = new / "key"
        done = _keygen("-q", "-t", kind, "-N", "", "-C", "smart-meter", "-f", str(key))
        if done.returncode:
            raise OSError(f"ssh-keygen: {done.stderr.strip()}")
        # The private key is the one that counts, so it is the last one.
        for suffix in (".pub", ""):
            _synchronise(new / f"key{suffix}")
            (new / f"key{suffix}").rename(_key(folder, kind).with_name(f"ssh_host_{kind}_key{suffix}"))
        _synchronise(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _keygen(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["/usr/bin/ssh-keygen", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _synchronise(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
