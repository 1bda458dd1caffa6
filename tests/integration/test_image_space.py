"""A build of an image can't change this machine. Needs root (make integration)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tools.image.process import BuildError
from tools.image.space import Space

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: a build space maps this machine's users"
)

REPOSITORY = Path(__file__).resolve().parents[2]
# Prints why the kernel refuses to insert a module of no bytes.
_INSERT = (
    "import ctypes, os; library = ctypes.CDLL(None, use_errno=True);"
    "library.init_module(None, 0, b''); exit(os.strerror(ctypes.get_errno()))"
)
_SETTING = "net.ipv4.conf.all.log_martians"
# As a role would do it on a running system.
_STEP = f"""
    hostname built || true
    ip link set lo up || true
    nft add table inet built || true
    sysctl --write {_SETTING}=$((1 - $(sysctl --values {_SETTING}))) || true
    mount -t tmpfs tmpfs "$1" || true
    echo "$(hostname), $(nft list tables), $(stat --file-system --format %T "$1")"
"""
# Each would change nothing even if it were permitted.
_ATTEMPTS = {
    "the clock": 'python3 -c "import time; time.clock_settime(time.CLOCK_REALTIME, time.time())"',
    "a setting of the kernel": "value=$(sysctl -n vm.swappiness); echo $value > /proc/sys/vm/swappiness",
    "a setting of the network": "v=$(sysctl -n net.ipv4.ip_forward); echo $v > /proc/sys/net/ipv4/ip_forward",
    "a file in /etc": ": >> /etc/hostname",
    "a file in the repository": ": >> tools/image/space.py",
    "a file in /sys": ": >> /sys/power/state",
    "a device": 'mknod "$1/device" b 7 0',
    "a kernel module": f'python3 -c "{_INSERT}"',
}
# Any other reason, such as a program that is missing, would prove nothing.
_FORBIDDEN = "Operation not permitted|Permission denied|Read-only file system"


def this_machine() -> dict[str, str]:
    """What a build might change."""
    commands = {
        "firewall": "nft --stateless list ruleset",
        "host name": "hostname",
        "mounts": "cat /proc/mounts",
        "settings": "sysctl --all --pattern '^(vm|net[.]ipv[46][.](ip_forward|conf[.](all|default)[.]))'",
        "programs for other processors": "ls /proc/sys/fs/binfmt_misc",
        # A kernel without modules has no list of them.
        "modules": "test ! -e /proc/modules || cut -d ' ' -f 1 /proc/modules",
        # In seconds. A slow machine takes some between the two.
        "clock": 'python3 -c "import time; print(round((time.time() - time.monotonic()) / 10))"',
    }
    shown = {}
    for name, command in commands.items():
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        shown[name] = done.stdout
    # Those of labs come and go.
    shown["mounts"] = "".join(line for line in shown["mounts"].splitlines(True) if "netns" not in line)
    return shown


@pytest.mark.parametrize("what", _ATTEMPTS)
def test_nothing_of_this_machine_can_be_changed(tmp_path: Path, what: str) -> None:
    if what == "a kernel module" and not Path("/proc/modules").exists():
        pytest.skip("this machine's kernel has no loadable modules")
    with pytest.raises(BuildError, match=rf"(?s)failed with exit status.*({_FORBIDDEN})"):
        Space((tmp_path,)).run(["sh", "-euc", _ATTEMPTS[what], "sh", tmp_path], tmp_path / "log")


def test_a_step_that_changes_a_running_system_changes_its_own_namespaces_only(tmp_path: Path) -> None:
    before = this_machine()

    Space((tmp_path,)).run(["sh", "-euc", _STEP, "sh", tmp_path], tmp_path / "log")

    assert this_machine() == before
    # Its own ones were changed, but for the setting, which is read-only in the space.
    log = (tmp_path / "log").read_text()
    assert log.splitlines()[-1] == "built, table inet built, tmpfs"
    assert f"{_SETTING} = " not in log


def test_the_same_step_without_a_space_is_noticed(tmp_path: Path) -> None:
    """The control: namespaces take the place of the machine, so it does not change."""
    program = """
import json, subprocess, sys
from tests.integration import test_image_space as tested
before = tested.this_machine()
subprocess.run(["sh", "-euc", tested._STEP, "sh", sys.argv[1]], check=True, stdout=subprocess.DEVNULL)
print(json.dumps([before, tested.this_machine()]))
"""
    words = ["unshare", "--net", "--mount", "--uts", sys.executable, "-c", program, str(tmp_path)]

    done = subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True, text=True)

    before, after = json.loads(done.stdout)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"firewall", "host name", "mounts", "settings"}


def test_with_the_machines_network_the_firewall_can_not_be_changed(tmp_path: Path) -> None:
    # It is checked by the kernel as if it were added.
    with pytest.raises(BuildError, match=r"(?s)failed with exit status.*Operation not permitted"):
        Space((tmp_path,), network=True).run(
            ["nft", "--check", "add", "table", "inet", "built"], tmp_path / "log"
        )


def test_it_has_no_network_and_sees_its_own_processes_only(tmp_path: Path) -> None:
    script = "ip -o link; ps ax --no-headers | wc -l"

    Space((tmp_path,)).run(["sh", "-euc", script, "sh", tmp_path], tmp_path / "log")

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


_CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/var/lib"])  # noqa: S108 - where services have sockets
@pytest.mark.parametrize("network", [False, True])
def test_sockets_of_services_cannot_be_reached(tmp_path: Path, folder: str, network: bool) -> None:
    command = ["python3", "-c", _CONNECT]
    with tempfile.TemporaryDirectory(dir=folder) as made, socket.socket(socket.AF_UNIX) as service:
        path = f"{made}/socket"
        service.bind(path)
        service.listen()
        subprocess.run([*command, path], check=True)

        with pytest.raises(BuildError, match=r"(?s)failed with exit status 1 .*No such file or directory"):
            Space((tmp_path,), network=network).run([*command, path], tmp_path / "log")


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
