"""A build of an image can't change this machine. Needs root (make integration)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tools.image.process import BuildError
from tools.image.space import Space

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: a build space maps this machine's users"
)

# Each would change nothing even if it were permitted.
_ATTEMPTS = {
    "the clock": 'python3 -c "import time; time.clock_settime(time.CLOCK_REALTIME, time.time())"',
    "a setting of the kernel": "value=$(sysctl -n vm.swappiness); echo $value > /proc/sys/vm/swappiness",
    "a setting of the network": "v=$(sysctl -n net.ipv4.ip_forward); sysctl -w net.ipv4.ip_forward=$v",
    "a file in /etc": "touch /etc/hostname",
    "a file in the repository": "touch tools/image/space.py",
    "a file in /sys": "cat /sys/power/mem_sleep > /sys/power/mem_sleep",
    "a device": 'mknod "$1/device" b 7 0',
    "a kernel module": "modprobe dummy",
}


def this_machine() -> str:
    """What a build might change: firewall, settings, host name, mounts, programs for other processors."""
    command = (
        "nft --stateless list ruleset; iptables -S; ip6tables -S; hostname; ls /proc/sys/fs/binfmt_misc;"
        "sysctl --all --pattern '^(vm|net[.]ipv[46][.](ip_forward|conf[.](all|default)[.]))';"
        # Those of labs come and go.
        "grep -v netns /proc/mounts"
    )
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("what", _ATTEMPTS)
def test_nothing_of_this_machine_can_be_changed(tmp_path: Path, what: str) -> None:
    with pytest.raises(BuildError, match="failed with exit status"):
        Space((tmp_path,)).run(["sh", "-euc", _ATTEMPTS[what], "sh", tmp_path], tmp_path / "log")


def test_it_has_a_network_a_host_name_and_mounts_of_its_own(tmp_path: Path) -> None:
    before = this_machine()
    script = (
        'ip link set lo up; hostname built; mount -t tmpfs tmpfs "$1"; nft add table inet built;'
        "ip -o link; ps ax --no-headers | wc -l"
    )

    Space((tmp_path,)).run(["sh", "-euc", script, "sh", tmp_path], tmp_path / "log")

    assert this_machine() == before
    *links, processes = (tmp_path / "log").read_text().splitlines()
    assert [link.split()[1] for link in links] == ["lo:"]
    assert int(processes) < 10


def test_it_has_neither_disks_nor_sockets_of_services(tmp_path: Path) -> None:
    Space((tmp_path,)).run(
        ["sh", "-euc", "ls /dev /run; echo > /dev/null; test -t 0 < /dev/ptmx"], tmp_path / "log"
    )

    found = (tmp_path / "log").read_text().split()
    devices = {"fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    assert set(found) <= devices | {"urandom", "zero", "/dev:", "/run:", "mount", "systemd", "resolvconf"}


def test_its_own_folders_keep_what_it_wrote_and_the_owners(tmp_path: Path) -> None:
    Space((tmp_path,)).run(
        ["sh", "-euc", 'install -o 42 -m 600 /dev/null "$1/new"', "sh", tmp_path], tmp_path / "log"
    )

    assert (tmp_path / "new").stat().st_uid == 42


def test_a_root_is_prepared_for_a_chroot(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("proc", "run", "tmp", "dev"):
        (root / name).mkdir(parents=True)
    script = (
        'test -e "$1/proc/self" && echo > "$1/dev/null" && touch "$1/run/x" "$1/tmp/x" &&'
        'value=$(cat "$1/proc/sys/vm/swappiness") && ! echo "$value" > "$1/proc/sys/vm/swappiness"'
    )

    Space((tmp_path,), root=root).run(["sh", "-uc", script, "sh", root], tmp_path / "log")

    # The mounts, and what was written to them, ended with the space.
    assert [path for path in root.rglob("*") if not path.is_dir()] == []


def test_the_end_of_a_command_that_fails_is_shown(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)exit status 3 .*no such card"):
        Space((tmp_path,)).run(["sh", "-c", "echo no such card; exit 3"], tmp_path / "log")
