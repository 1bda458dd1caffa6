"""remove_imager_secrets.sh: what goes from the boot partition, and when nothing does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.unit.roles.site import REPOSITORY

SCRIPT = REPOSITORY / "roles/appliance/files/remove_imager_secrets.sh"
UUIDS = {"control": "6a1e", "field": "9b2f"}
NETWORK = """\
network:
  version: 2
  wifis:
    wlan0:
      access-points:
        "x":
          password: "9f64"
"""


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    for folder in ("boot", "profiles", "bin"):
        (tmp_path / folder).mkdir()
    for zone, uuid in UUIDS.items():
        profile = tmp_path / f"profiles/smart-meter-{zone}.nmconnection"
        profile.write_text(f"[connection]\nuuid={uuid}\n")
    files = {
        "network-config": NETWORK,
        "wpa_supplicant.conf": 'network={\n  psk="secret"\n}\n',
        "user-data": "#cloud-config\n",
    }
    for name, text in files.items():
        (tmp_path / "boot" / name).write_text(text)
    return tmp_path / "boot"


def remove(boot: Path, *active: str) -> subprocess.CompletedProcess[str]:
    program = boot.parent / "bin/nmcli"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(active)}\n")
    program.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", "-s", boot, boot.parent / "profiles"],
        input=SCRIPT.read_text(),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{boot.parent}/bin:/usr/bin:/bin"},
    )


def test_the_passphrase_goes_and_cloud_init_still_has_a_valid_file(boot: Path) -> None:
    linked = boot.parent / "blocks"
    linked.hardlink_to(boot / "network-config")

    done = remove(boot, *UUIDS.values())

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in boot.iterdir()) == ["network-config", "user-data"]
    assert yaml.safe_load((boot / "network-config").read_text()) == {"network": {"version": 2}}
    # Nor is it in the blocks that the file had.
    assert linked.read_bytes().strip(b"\0") == b""


def test_a_file_without_a_passphrase_stays(boot: Path) -> None:
    wired = "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n"
    (boot / "network-config").write_text(wired)

    assert remove(boot, *UUIDS.values()).returncode == 0

    assert (boot / "network-config").read_text() == wired
    assert sorted(path.name for path in boot.iterdir()) == ["network-config", "user-data"]


@pytest.mark.parametrize("active", [["6a1e"], ["6a1e", "office"]])
def test_nothing_goes_while_a_zone_runs_on_another_profile(boot: Path, active: list[str]) -> None:
    done = remove(boot, *active)

    assert done.returncode == 3
    assert done.stdout.endswith("smart-meter-field.nmconnection does not run\n")
    assert (boot / "network-config").read_text() == NETWORK


def test_nothing_goes_from_a_pi_without_profiles(boot: Path) -> None:
    for profile in (boot.parent / "profiles").iterdir():
        profile.unlink()

    assert remove(boot, *UUIDS.values()).returncode != 0
    assert (boot / "network-config").read_text() == NETWORK


@pytest.mark.parametrize("stays", ["network-config", "wpa_supplicant.conf"])
def test_a_passphrase_that_can_not_be_removed_is_a_failure(boot: Path, stays: str) -> None:
    """As on a boot partition that is mounted read-only after an error."""
    program = boot.parent / "bin/shred"
    program.write_text(f'#!/bin/sh\ncase "$*" in *{stays}) exit 1 ;; esac\nexec /usr/bin/shred "$@"\n')
    program.chmod(0o755)

    done = remove(boot, *UUIDS.values())

    assert done.returncode not in (0, 3)
    assert (boot / stays).exists()
