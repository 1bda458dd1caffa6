"""Whether an image must be built again."""

from __future__ import annotations

import io
import itertools
import json
import lzma
import os
import shutil
from pathlib import Path

import pytest
from tools.image import process
from tools.image.build import Build
from tools.image.settings import Settings
from tools.image.steps import Steps


def test_an_image_is_current_if_its_build_was_completed_with_the_same_inputs(tmp_path: Path) -> None:
    settings = Settings("amd64", "stable", 1)
    build = Build(settings, tmp_path, tmp_path, Steps(1))
    assert not build.is_current()

    inputs = tmp_path / "smart-meter-amd64.inputs"
    inputs.write_text(f"{settings.inputs()}\n")
    assert not build.is_current()
    (tmp_path / "smart-meter-amd64.img.xz").write_bytes(b"")
    assert build.is_current()
    inputs.write_text("other\n")
    assert not build.is_current()


@pytest.fixture
def spaced(tmp_path: Path) -> Build:
    """A build in folders whose names have spaces."""
    cache = tmp_path / "a cache"
    architecture = "arm64" if os.uname().machine == "aarch64" else "amd64"
    build = Build(Settings(architecture, "stable", 1), cache, tmp_path / "a result", Steps(1, io.StringIO()))
    build.places.work.mkdir(parents=True)
    build.out.mkdir()
    return build


@pytest.mark.skipif(not shutil.which("xz"), reason="needs xz")
def test_folders_may_have_spaces_in_their_names(spaced: Build) -> None:
    image = spaced.places.work / "disk.img"
    image.write_bytes(b"content")

    result = spaced.publish(image)

    assert lzma.decompress(result.read_bytes()) == b"content"
    assert result.with_name(f"{result.name}.sha256").read_text().endswith(f"  {result.name}\n")


def test_the_roles_get_folders_with_spaces(spaced: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(process, "run", lambda *_: None)
    monkeypatch.setattr(spaced, "_in_root", lambda command, **_: commands.append([*map(str, command)]))

    spaced.apply_roles()

    [command] = commands
    variables: dict[str, str] = {}
    for option, value in itertools.pairwise(command):
        if option == "--extra-vars":
            variables |= json.loads(value)
    assert variables["files_root"] == str(spaced.places.root)
    assert variables["concentrator_cache"] == str(spaced.places.cache / "wheelhouse")
    assert "image_placeholder_psk" in variables
