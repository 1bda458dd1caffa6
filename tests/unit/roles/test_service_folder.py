"""What root reads in the service's folder, where the service's user may put anything."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from tests.unit.roles.site import REPOSITORY
from tests.unit.roles.test_role_files import load

FILES = REPOSITORY / "roles/concentrator/files"
DIGEST = hashlib.sha256(b"a = 1\n").hexdigest()
COMPARE = load(REPOSITORY / "roles/concentrator/vars/main.yml")["__concentrator_state_script"]


def sh(script: str, *arguments: str) -> str:
    """Run a script that may not wait for anything."""
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *arguments], capture_output=True, text=True, timeout=4, check=False
    )
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("a = 1\n")
    (tmp_path / "secret").write_text("for root only\n")
    (tmp_path / "link").symlink_to("secret")
    (tmp_path / "lines").symlink_to("one\ntwo")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_one_line_for_each_path_whatever_it_is(folder: Path) -> None:
    paths = [str(folder / name) for name in ("file", "link", "lines", "pipe", "missing")]

    found = sh(COMPARE, *paths, "/dev/zero", str(folder)).splitlines()

    assert found == [
        f"{DIGEST}  -",
        "secret",
        "one",
        "none",
        "none",
        "none",
        "none",
    ]


@pytest.mark.parametrize("name", ["link", "pipe", "missing", "."])
def test_only_a_regular_file_is_printed(folder: Path, name: str) -> None:
    script = (FILES / "common.sh").read_text(encoding="utf-8") + 'read_service_file "$1"\n'

    assert sh(script, str(folder / "file")) == "a = 1\n"
    assert sh(script, str(folder / name)) == ""


def test_no_script_reads_the_folder_in_another_way() -> None:
    for path in FILES.glob("*.sh"):
        text = path.read_text(encoding="utf-8")
        assert "cat /run/smart-meter/" not in text, path.name
        assert '< "$running"' not in text, path.name
