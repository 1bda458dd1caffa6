"""The image's own inventory has no mistake, so a build does not find one after ten minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.image.settings import FOLDER, REPOSITORY


def test_the_check_of_the_inventory_accepts_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, REPOSITORY / "tools/playbook.py", REPOSITORY / "playbooks/check.yml"),
            *("--inventory", FOLDER / "inventory/hosts.yml"),
            *("--extra-vars", "image_placeholder_psk=a-placeholder"),
        ],
        env={**os.environ, "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "smart-meter" in done.stdout
