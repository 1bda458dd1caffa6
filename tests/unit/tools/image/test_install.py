"""What the build writes into a root file system for the state partition."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools.image import boot, disk, install
from tools.image.settings import FOLDER, Settings
from tools.image.state import places

SETTINGS = Settings("amd64", "stable", 1_700_000_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("etc", "usr/lib/systemd/system", "var/log", "root"):
        (root / name).mkdir(parents=True)
    (root / "root").chmod(0o700)
    timers = root / "etc/systemd/system/timers.target.wants"
    timers.mkdir(parents=True)
    for name in ("apt-daily.timer", "fstrim.timer"):
        (timers / name).symlink_to(f"/usr/lib/systemd/system/{name}")
    before = os.umask(0o077)
    try:
        install.install(root, SETTINGS)
    finally:
        os.umask(before)
    return root


def test_every_folder_on_which_something_is_mounted_is_there(root: Path) -> None:
    assert install.problems(root) == []
    assert (root / "state").is_dir()
    assert {place.path for place in places.read() if not (root / place.path[1:]).is_dir()} == set()


def test_modes_depend_on_no_umask_and_folders_that_exist_keep_theirs(root: Path) -> None:
    script = root / "etc/initramfs-tools/scripts/init-bottom/smart-meter-state"
    assert script.stat().st_mode & 0o777 == 0o755
    assert (root / "usr/lib/smart-meter/state/boot.py").stat().st_mode & 0o777 == 0o644
    assert (root / "usr/lib/smart-meter").stat().st_mode & 0o777 == 0o755
    assert (root / "root").stat().st_mode & 0o777 == 0o700


def test_the_marker_names_the_image(root: Path) -> None:
    marker = json.loads((root / "usr/lib/smart-meter/image").read_text())

    assert marker == {"name": "smart-meter-amd64", "epoch": 1_700_000_000}
    # The state partition can't bring it to another system, nor hide it.
    assert places.place_of(f"/{install.MARKER}", places.read()) is None


def test_ssh_waits_for_its_keys(root: Path) -> None:
    units = root / "usr/lib/systemd/system"
    link = units / "ssh.service.wants/smart-meter-keys.service"

    assert link.resolve() == (units / "smart-meter-keys.service").resolve()
    assert "Before=ssh.service" in link.read_text().replace("ssh.service ssh.socket", "ssh.service")


def test_nothing_looks_after_packages(root: Path) -> None:
    timers = root / "etc/systemd/system/timers.target.wants"

    # The one that trims the card stays.
    assert [path.name for path in timers.iterdir()] == ["fstrim.timer"]


def test_the_unit_runs_if_one_of_the_keys_is_missing_or_empty(root: Path) -> None:
    from tools.image.state import keys

    text = (root / "usr/lib/systemd/system/smart-meter-keys.service").read_text()

    kinds = re.findall(r"ConditionFileNotEmpty=\|!/etc/ssh/ssh_host_(\w+)_key", text)
    assert tuple(kinds) == keys.KINDS


def test_the_programs_run_from_where_they_are_installed(root: Path) -> None:
    environment = {"PYTHONPATH": str(root / "usr/lib/smart-meter"), "PATH": os.environ["PATH"]}

    done = subprocess.run(
        [sys.executable, "-B", "-s", "-m", "state"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "`boot`, in the initrd" in done.stderr


def test_the_programs_need_nothing_but_pythons_library() -> None:
    allowed = sys.stdlib_module_names
    for file in (FOLDER / "state").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed, file
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module is not None
                assert node.module.partition(".")[0] in allowed, file


def test_an_own_folder_with_files_is_refused(root: Path) -> None:
    (root / "var/lib/smart-meter/history.db").touch()

    assert install.problems(root) == [
        "/var/lib/smart-meter has files, which its mount would hide: make it a layer"
    ]


def test_a_place_that_is_a_link_is_refused(root: Path) -> None:
    (root / "var/cache").rmdir()
    (root / "var/cache").symlink_to("log")

    assert install.problems(root) == ["/var/cache is not a folder"]


def test_the_root_file_system_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    boot.write_fstab(tmp_path, disk.Identity("inputs"))

    lines = [line.split("\t") for line in (tmp_path / "etc/fstab").read_text().splitlines()]
    by_folder = {fields[1]: fields[3].split(",") for fields in lines}
    assert by_folder["/"] == ["ro", "noatime"]
    assert "ro" in by_folder["/boot/firmware"]
    assert "x-systemd.device-timeout=5min" in by_folder["/boot/firmware"]
    assert not [fields for fields in lines if "swap" in fields]
    assert "ro" in boot.kernel_arguments(disk.Identity("inputs"), "ttyS0").split()


def test_the_script_of_the_initrd_is_valid_and_asks_for_udev_first() -> None:
    script = FOLDER / "files/etc/initramfs-tools/scripts/init-bottom/smart-meter-state"

    done = subprocess.run(["sh", script, "prereqs"], capture_output=True, text=True, check=True)

    assert done.stdout == "udev\n"
