"""Whether an image must be built again."""

from __future__ import annotations

from pathlib import Path

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
