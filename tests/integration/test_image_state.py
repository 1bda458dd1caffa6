"""The folders of a state partition, really mounted, in a mount namespace of their own. Needs root.

Each call of `boot` is a start of the same card: the image's folders are read-only, and the state is a folder.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tools.image import install
from tools.image.settings import Settings
from tools.image.state import places

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts")
PYTHON = Path(os.path.realpath(sys.executable))
# As __main__.py does after the partition is mounted.
MOUNT = """
from pathlib import Path
from state import boot, mounts, places
problems = []
mounts.mount_all(places.read(), Path("/state"), Path("/tmp/memory"), problems.append)
boot.make_machine_id(Path("/etc/machine-id"))
assert not problems, problems
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card: `image` is its root file system, `state` its state partition."""
    image = tmp_path / "image"
    files = {
        "etc/hostname": "smart-meter\n",
        "etc/machine-id": "",
        "etc/ufw/user.rules": "*filter\n",
        "opt/smart-meter/releases/1/bin/smart-meter": "#!/bin/sh\n",
        "var/lib/smart-meter-guard/profiles/control": "profile\n",
    }
    for name, text in files.items():
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        (image / name).write_text(text)
    (image / "opt/smart-meter/current").symlink_to("releases/1")
    install.install(image, Settings("amd64", "stable", 0))
    for name in ("dev", "proc", "tmp"):
        (image / name).mkdir()
    for name in ("bin", "lib", "lib64", "sbin"):
        (image / name).symlink_to(f"usr/{name}")
    (tmp_path / "state").mkdir()
    return tmp_path


def boot(card: Path, script: str) -> str:
    """Start from the card, run a script in its root file system, and return what it prints."""
    start = f"PYTHONPATH=/programs {PYTHON} -B -s -c {shlex.quote(MOUNT)}\n{script}"
    outside = f"""
        cd {card}
        mount --bind image image
        mkdir -p programs && cp -r image/usr/lib/smart-meter/state programs/
        mkdir -p image/programs
        mount --bind programs image/programs
        mount --rbind /usr image/usr
        mount --bind state image/state
        mount -t proc proc image/proc
        mount -o remount,bind,ro image
        exec chroot image /bin/sh -euc {shlex.quote(start)}
    """
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-euc", outside],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def everything(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_what_is_changed_is_there_after_a_restart_and_the_image_is_as_it_was(card: Path) -> None:
    before = everything(card / "image")
    boot(
        card,
        """
        # As the roles write: beside the file, then renamed.
        echo pi-north > /etc/.hostname.new && mv /etc/.hostname.new /etc/hostname
        ln -sf ../usr/share/zoneinfo/Europe/Berlin /etc/localtime
        rm -rf /etc/ufw && mkdir /etc/ufw && echo new > /etc/ufw/user.rules
        mkdir -p /opt/smart-meter/releases/2/bin && echo two > /opt/smart-meter/releases/2/bin/smart-meter
        ln -s releases/2 /opt/smart-meter/.current && mv -T /opt/smart-meter/.current /opt/smart-meter/current
        rm -rf /opt/smart-meter/releases/1
        echo samples > /var/lib/smart-meter/history.db
        echo lines > /var/log/journal/system.journal
        mkdir -p /home/pi/.ssh && echo key > /home/pi/.ssh/authorized_keys
        echo x > /var/cache/x
        """,
    )

    shown = boot(
        card,
        """
        cat /etc/hostname /etc/ufw/* /opt/smart-meter/current/bin/smart-meter
        cat /var/lib/smart-meter/history.db /var/log/journal/system.journal /home/pi/.ssh/authorized_keys
        readlink /etc/localtime; ls /opt/smart-meter/releases; ls /var/cache
        cat /var/lib/smart-meter-guard/profiles/*
        """,
    )

    assert shown.split() == [
        *("pi-north", "new", "two", "samples", "lines", "key"),
        *("../usr/share/zoneinfo/Europe/Berlin", "2", "profile"),
    ]
    after = everything(card / "image")
    assert {name: after[name] for name in before} == before


def test_the_machine_id_stays_over_restarts_and_another_card_has_another(card: Path) -> None:
    first, second = (boot(card, "cat /etc/machine-id") for _ in range(2))
    subprocess.run(["rm", "-rf", card / "state"], check=True)
    (card / "state").mkdir()
    fresh = boot(card, "cat /etc/machine-id; cat /etc/hostname")

    assert first == second
    assert len(first) == 33
    assert fresh.split()[0] != first.strip()
    # A fresh state partition has the image's defaults.
    assert fresh.split()[1] == "smart-meter"


def test_everything_else_is_read_only(card: Path) -> None:
    shown = boot(
        card, "for folder in / /var /var/lib /opt /boot; do touch $folder/x 2>/dev/null || echo no; done"
    )

    assert shown.split() == ["no"] * 5


def test_a_release_is_changed_by_the_next_image_if_it_was_not_changed_on_the_card(card: Path) -> None:
    boot(card, "echo pi-north > /etc/hostname")
    # Another system of the card, above which the same state partition is mounted.
    (card / "image/etc/hostname").write_text("smart-meter-b\n")
    (card / "image/etc/ufw/user.rules").write_text("*filter of b\n")

    assert boot(card, "cat /etc/hostname /etc/ufw/user.rules") == "pi-north\n*filter of b\n"


def test_a_list_of_the_mounts_is_that_of_the_places(card: Path) -> None:
    shown = boot(card, "cut -d ' ' -f 2,3 /proc/mounts").splitlines()

    mounted = dict(line.split() for line in shown)
    for place in places.read():
        assert place.path in mounted
        assert (mounted[place.path] == "overlay") is (place.kind == "layer")
        assert (mounted[place.path] == "tmpfs") is (place.kind == "memory")
