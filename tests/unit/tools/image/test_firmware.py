"""Each promised model has the firmware of its Wi-Fi, or the gap is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.roles.site import REPOSITORY
from tools.image import firmware
from tools.image.models import BACKPORTS, STABLE, Model


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / "usr/lib/firmware/brcm").mkdir(parents=True, exist_ok=True)
        (root / "usr/lib/firmware/brcm" / name).touch()


@pytest.mark.parametrize("model", STABLE, ids=lambda model: model.name)
def test_each_file_that_is_missing_is_named(tmp_path: Path, model: Model) -> None:
    problems, gaps = firmware.missing(model, tmp_path)
    needed = firmware.FILES[model.name]
    known = [name for name in needed if name in firmware.KNOWN_GAPS]

    assert [problem.split()[-1] for problem in problems] == [f"brcm/{n}" for n in needed if n not in known]
    assert len(gaps) == len(known)

    put(tmp_path, *needed)
    assert firmware.missing(model, tmp_path) == ([], [])


def test_a_known_gap_is_named_and_no_problem(tmp_path: Path) -> None:
    zero = STABLE[-1]
    put(tmp_path, "brcmfmac43430-sdio.bin")

    problems, [gap] = firmware.missing(zero, tmp_path)

    assert problems == []
    assert (
        gap == "Raspberry Pi Zero 2 W: no Wi-Fi on boards with a BCM43430/2 (brcm/brcmfmac43430b0-sdio.bin)"
    )


def test_each_model_whose_wifi_is_promised_has_its_firmware_listed() -> None:
    promised = {m.name for m in BACKPORTS if any(driver.module == "brcmfmac" for driver in m.drivers)}

    assert set(firmware.FILES) == promised


def test_known_gaps_are_in_the_documentation() -> None:
    text = (REPOSITORY / "docs/image.md").read_text(encoding="utf-8")

    for name, where in firmware.KNOWN_GAPS.items():
        assert name in text
        assert where.removeprefix("boards with a ") in text
