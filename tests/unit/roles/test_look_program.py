"""The program that looks at a Pi, with a folder for the Pi's files and scripts for its commands."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from roles.preflight.look import commands, machine, program
from roles.preflight.look.reading import MAX_FILE, clean
from roles.preflight.rules.look import Dpkg, Look, read_answer
from roles.preflight.rules.question import program as assembled
from tests.unit.roles.looks import UUID, WANTED
from tests.unit.roles.site import REPOSITORY

UNITS = {
    "NetworkManager.service": ("active", "enabled", 600),
    "systemd-journald.service": ("active", "static", 250),
    "smart-meter.socket": ("inactive", "disabled", 0),
    "chrony.service": ("inactive", "", 0),
    "ntpsec.service": ("inactive", "", 0),
    "systemd-timesyncd.service": ("active", "enabled", 300),
    "ssh.service": ("active", "enabled", 700),
}
SHOWN = "\n".join(
    f"Id={name}\nActiveState={state}\nUnitFileState={file}\nMainPID={process}\n"
    for name, (state, file, process) in UNITS.items()
)
DEVICES = f"""\
GENERAL.DEVICE:eth0
GENERAL.HWADDR:DC:A6:32:01:02:03
GENERAL.STATE:100 (connected)
GENERAL.REASON:0 (No reason given)
GENERAL.CONNECTION:smart-meter-control
GENERAL.CON-UUID:{UUID}
GENERAL.CON-PATH:/org/freedesktop/NetworkManager/ActiveConnection/3
IP4.ADDRESS[1]:192.168.2.100/24
IP4.ADDRESS[2]:192.168.2.101/24
IP4.GATEWAY:192.168.2.1
IP4.ROUTE[1]:dst = 192.168.2.0/24, nh = 0.0.0.0, mt = 100

GENERAL.DEVICE:wlan0
GENERAL.HWADDR:DC:A6:32:01:02:04
GENERAL.STATE:10 (unmanaged)
GENERAL.REASON:2 (Device is now unmanaged)
GENERAL.CONNECTION:
GENERAL.CON-UUID:
GENERAL.CON-PATH:
IP4.GATEWAY:

GENERAL.DEVICE:docker0
GENERAL.STATE:100 (connected (externally))
"""
KEPT = "/etc/NetworkManager/system-connections/smart-meter-control.nmconnection"
GENERATED = "/run/NetworkManager/system-connections/netplan-wlan0-x.nmconnection"
PROFILES = f"""\
{UUID}:smart-meter-control:802-3-ethernet:yes:999:{KEPT}
not-a-uuid:Caf\\:é \\\\ \\\\\\::802-11-wireless:no:-5:{GENERATED}
{UUID[::-1].replace("-", "0")}:lo:loopback:no:0:
"""
LOCK = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
OUTPUTS = {
    "dpkg-query": (
        "python3 installed 3.13.5-1\nsystemd installed 257.13-1~deb13u1\n"
        "systemd-timesyncd installed 257.13-1\n"
        "old config-files 1.0\nlibstdc++6 installed 14.2.0-19\n"
    ),
    "busctl": 'ao 1 "/org/freedesktop/NetworkManager/Checkpoint/7"\n',
    "iw": "global\ncountry DE: DFS-ETSI\n\t(2400 - 2483 @ 40)\n\nphy#0\ncountry 99: DFS-UNSET\n",
    "ufw": "Added user rules (see 'ufw status'):\nufw allow 22/tcp comment 'a \x1b[31m'\n",
    "iptables": "-N ufw-user-input\n",
    "systemctl": SHOWN,
}


class FakePi:
    """A root folder with a Pi's files, and a folder of scripts that is the only one on PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.bin = folder / "root", folder / "bin"
        self.bin.mkdir(parents=True)
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(commands, "_FOLDERS", "/nowhere")
        self.write("proc/cmdline", "console=tty1 cfg80211.ieee80211_regdom=GB rootwait\n")
        (self.root / "run/systemd/system").mkdir(parents=True)
        for name, output in OUTPUTS.items():
            self.prints(name, output)
        nmcli = {"general": "running:1.52.1:enabled\n", "device": DEVICES, "connection": PROFILES}
        for name, output in nmcli.items():
            (folder / name).write_text(output)
        self.script(
            "nmcli",
            f'for each; do case $each in general|device|connection) read_file "{folder}/$each" ;; esac; done',
        )

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def prints(self, name: str, output: str) -> None:
        kept = self.bin.parent / f"{name}.output"
        kept.write_text(output)
        self.script(name, f'read_file "{kept}"')

    def script(self, name: str, body: str) -> None:
        file = self.bin / name
        # Nothing but a shell: PATH leads to no other command.
        file.write_text(f'#!/bin/sh\nread_file() {{ /bin/cat "$1"; }}\n{body}\n')
        file.chmod(0o755)

    def look(self, wanted: Mapping[str, Any] = WANTED, seconds: float = 5.0) -> Look:
        found = program.look(dict(wanted), self.root, seconds)
        return read_answer(json.dumps(found), wanted)


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePi:
    return FakePi(tmp_path, monkeypatch)


def test_units_packages_and_the_release_are_read(pi: FakePi) -> None:
    pi.write("etc/os-release", 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\n')
    pi.write("etc/debian_version", "13.1\n")

    found = pi.look()

    assert found.units == {name: (state, file) for name, (state, file, _) in UNITS.items()}
    assert found.network_manager == "active"
    assert found.packages == ["libstdc++6", "python3", "systemd", "systemd-timesyncd"]
    assert found.systemd_version == 257
    assert found.time_daemon == "systemd-timesyncd"
    assert (found.release.major, found.release.debian) == (13, "13.1")
    assert (found.country, found.cmdline_country) == ("DE", "GB")
    assert found.systemd
    assert found.failed == []


def test_network_manager_is_read(pi: FakePi) -> None:
    keyfiles = "etc/NetworkManager/system-connections"
    pi.write(
        f"{keyfiles}/smart-meter-control.nmconnection", f"[connection]\nuuid={UUID}\ninterface-name=eth0\n"
    )
    pi.write(f"{keyfiles}/smart-meter-field.nmconnection", "[connection]\nuuid=damaged")
    pi.write(
        "run/NetworkManager/system-connections/netplan-wlan0-x.nmconnection",
        "[wifi]\nmac-address=DC:A6:32:01:02:04\ncloned-mac-address=random\n",
    )

    nm = pi.look().nm

    assert (nm.running, nm.version, nm.radio, nm.checkpoints) == (True, "1.52.1", True, 1)
    assert sorted(nm.devices) == ["eth0", "wlan0"], "only those that were asked for"
    wired, radio = nm.devices["eth0"], nm.devices["wlan0"]
    assert (wired.state, wired.uuid, wired.mac) == (100, UUID, "dc:a6:32:01:02:03")
    assert (wired.addresses, wired.gateway) == (["192.168.2.100/24", "192.168.2.101/24"], "192.168.2.1")
    assert (radio.managed, radio.reason, radio.connection) == (False, "2 (Device is now unmanaged)", "")
    ours, rival, unstored = nm.profiles
    assert (ours.interface, ours.priority, ours.autoconnect) == ("eth0", 999, True)
    assert (rival.id, rival.uuid, rival.mac, rival.interface) == ("Caf:é \\ \\:", "", "dc:a6:32:01:02:04", "")
    assert (unstored.id, unstored.file) == ("lo", "")
    assert pi.look().profiles == {"field": "", "control": UUID}


def test_files_are_read_as_they_are(pi: FakePi) -> None:
    hosts = pi.write("etc/hosts", "127.0.1.1\tpi \x1b]0;x\x07\n")
    hosts.chmod(0o640)
    os.mkfifo(pi.root / "etc/fifo")
    pi.write("etc/long", "x" * (MAX_FILE + 1))
    (pi.root / "etc/link").symlink_to("hosts")
    (pi.root / "etc/endless").symlink_to("/dev/zero")
    names = [
        "/etc/hosts",
        "/etc/missing",
        "/etc/hosts/below",
        "/etc/fifo",
        "/etc/long",
        "/etc/link",
        "/etc/endless",
    ]

    found = pi.look({**WANTED, "files": [*names, "/etc"]})

    state = found.files["/etc/hosts"]
    assert isinstance(state, tuple)
    assert state[:2] == (hashlib.sha256(hosts.read_bytes()).hexdigest(), "0640")
    assert [found.files[name] for name in names[1:3]] == [None, None]
    assert {found.files[name] for name in [*names[3:], "/etc"]} == {"irregular"}
    assert found.name.hosts == "127.0.1.1\tpi \\x1b]0;x\\x07\n"


def test_rules_reach_the_controller_without_control_characters(pi: FakePi) -> None:
    pi.write("etc/ufw/ufw.conf", "ENABLED=yes\n")
    pi.write("etc/default/ufw", '# DEFAULT_X_POLICY\nDEFAULT_INPUT_POLICY="DROP"\nIPV6=yes\n')

    ufw = pi.look().ufw

    assert ufw.added == ["ufw allow 22/tcp comment 'a \\x1b[31m'"]
    assert (ufw.enabled, ufw.active, ufw.defaults) == (True, True, ['DEFAULT_INPUT_POLICY="DROP"'])
    pi.script("iptables", "exit 1")
    assert not pi.look().ufw.active


def test_a_root_that_does_not_run_has_only_what_is_enabled(pi: FakePi) -> None:
    (pi.root / "run/systemd/system").rmdir()
    pi.script("systemctl", "case $3 in ssh.service) echo enabled ;; *) echo not-found; exit 1 ;; esac")
    pi.script("nmcli", "exit 8")
    pi.script("busctl", "exit 1")

    found = pi.look()

    assert not found.systemd
    assert found.units["ssh.service"] == ("", "enabled")
    assert found.units["chrony.service"] == ("", "not-found")
    assert found.time_daemon == "systemd-timesyncd", "the installed one"
    assert (found.nm.running, found.nm.devices, found.nm.checkpoints) == (False, {}, 0)


def test_commands_that_are_missing_leave_their_fields_empty(pi: FakePi) -> None:
    for script in pi.bin.iterdir():
        script.unlink()

    found = pi.look()

    assert (found.packages, found.ufw.added, found.country, found.failed) == ([], [], "", [])
    assert set(found.units.values()) == {("", "")}


def test_a_command_that_does_not_end_is_killed_with_its_children_and_named(
    pi: FakePi, tmp_path: Path
) -> None:
    pi.script("ufw", f'echo "ufw allow 1"; /bin/sleep 60 & echo $! > {tmp_path}/child; wait')
    # It closes its output, and does not end.
    pi.script("iw", "exec > /dev/null; exec /bin/sleep 60")
    began = time.monotonic()

    found = pi.look(seconds=0.5)

    assert time.monotonic() - began < 5
    assert found.ufw.added == []
    assert sorted(found.failed) == [
        "iw reg get: it took longer than 0.5 s",
        "ufw show added: it took longer than 0.5 s",
    ]
    status = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    # Whose parent was killed may not have been waited for yet.
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"
    assert found.packages, "the others are not affected"


def test_an_endless_output_is_cut_and_named(pi: FakePi) -> None:
    pi.script("dpkg-query", "while :; do echo python3 installed 3.13; done")

    found = pi.look()

    assert found.packages == []
    [failure] = found.failed
    assert failure.startswith("dpkg-query -W -f")
    assert failure.endswith("it printed more than 1024 KiB")


def test_who_runs_dpkg_is_named_and_an_interrupted_one_is_noticed(pi: FakePi) -> None:
    pi.write("var/lib/dpkg/updates/0001", "")
    lock = pi.write("var/lib/dpkg/lock-frontend", "")
    assert pi.look().dpkg == Dpkg(interrupted=True, lock="")

    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"locked\n"
        pi.write(f"proc/{holder.pid}/comm", "apt-get\n")
        assert pi.look().dpkg == Dpkg(interrupted=False, lock=f"apt-get (pid {holder.pid})")
        holder.stdin.close()
    (pi.root / "var/lib/dpkg/updates/0001").unlink()
    pi.prints("dpkg-query", "python3 half-configured 3.13\n")
    assert pi.look().dpkg == Dpkg(interrupted=True, lock="")


def test_the_connection_of_the_nearest_ancestor_is_found(pi: FakePi) -> None:
    own, parent = os.getpid(), 4242
    pi.write(f"proc/{own}/environ", "HOME=/\0X_SSH_CONNECTION=1 2 3 4\0")
    pi.write(f"proc/{own}/stat", f"{own} (a) b ) S {parent} 1 1")
    pi.write(f"proc/{parent}/environ", "LANG=C\0SSH_CONNECTION=fe80::1%eth0 51234 192.168.2.100 2222\0")

    assert pi.look().connection == "fe80::1%eth0 51234 192.168.2.100 2222"


def test_who_listens_on_the_port_is_named(pi: FakePi) -> None:
    head = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    row = "   0: 00000000:01F6 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 77 1\n"
    pi.write("proc/net/tcp", head + row.format("01"))
    assert pi.look().port == ""

    pi.write("proc/net/tcp", head + row.format("0A"))
    assert pi.look().port == "a process (pid 0)"
    pi.write("proc/99/comm", "nginx\n")
    pi.write("proc/99/cgroup", "0::/system.slice/nginx.service\n")
    (pi.root / "proc/99/fd").mkdir()
    (pi.root / "proc/99/fd/6").symlink_to("socket:[77]")
    assert pi.look().port == "nginx (pid 99)"
    pi.write("proc/99/cgroup", "0::/system.slice/smart-meter.service\n")
    assert pi.look().port == "smart-meter"


def test_where_the_journal_is_is_read_from_journald(pi: FakePi) -> None:
    (pi.root / "proc/250/fd").mkdir(parents=True)
    (pi.root / "proc/250/fd/9").symlink_to("/var/log/journal/0123/system.journal")
    (pi.root / "proc/250/fd/10").symlink_to("socket:[1]")

    assert pi.look().journal == ["/var/log/journal/0123/system.journal"]


@pytest.mark.parametrize(
    ("mounts", "words", "expected"),
    [
        ("22 1 8:1 / / rw - ext4 /dev/root rw", "", (False, False, "")),
        ("22 1 0:9 / / rw - tmpfs tmpfs rw", "", (False, True, "a tmpfs")),
        ("22 1 0:9 / / rw - overlay o rw,upperdir=/elsewhere/up,workdir=/w", "", (True, False, "")),
        (
            "22 1 0:9 / / rw - overlay o rw,upperdir=/elsewhere/up",
            "boot=overlay",
            (True, True, "boot=overlay"),
        ),
        ("22 1 0:9 / / rw - overlay o rw", "overlayroot=disabled", (True, False, "")),
        ("22 1 0:9 / / rw - overlay o rw", "overlayroot=tmpfs", (True, True, "overlayroot=tmpfs")),
        (
            "22 1 0:9 / / rw - overlay o rw,upperdir=/media/rw/up\n23 22 0:8 / /media/rw rw - tmpfs t rw",
            "",
            (True, True, "upperdir on a tmpfs"),
        ),
    ],
)
def test_a_root_whose_changes_are_lost_is_noticed(
    pi: FakePi, mounts: str, words: str, expected: tuple[bool, bool, str]
) -> None:
    pi.write("proc/self/mountinfo", mounts + "\n")
    pi.write("proc/cmdline", words + "\n")

    root = pi.look().root

    assert (root.overlay, root.volatile, root.why, root.ours) == (*expected, False)


@pytest.mark.parametrize(
    ("mounts", "volatile"),
    [
        ("22 1 179:8 / /state rw - ext4 /dev/mmcblk0p8 rw\n", False),
        ("22 1 0:9 / /state rw - tmpfs state rw\n", True),
        ("", True),
    ],
)
def test_an_image_keeps_its_changes_on_its_state_partition(pi: FakePi, mounts: str, volatile: bool) -> None:
    pi.write("usr/lib/smart-meter/image", "")
    (pi.root / "state").mkdir()
    pi.write("proc/self/mountinfo", f"21 1 179:5 / / ro - ext4 /dev/root ro\n{mounts}")

    root = pi.look().root

    assert (root.ours, root.overlay, root.volatile) == (True, False, volatile)
    assert root.why == ("the state partition is not in use" if volatile else "")


def test_files_that_set_kernel_settings_come_in_the_order_of_their_names(pi: FakePi) -> None:
    pi.write("etc/sysctl.d/99-x.conf", "# net.ipv4.ip_forward=1\nnet.ipv4.ip_forward = 1\nvm.swappiness=1\n")
    pi.write("etc/sysctl.d/zz-smart-meter.conf", "-net/ipv4/conf/eth0.1/rp_filter = 1\n")
    pi.write("usr/lib/sysctl.d/50-default.conf", "net.ipv4.ip_forward=0\n")
    pi.write("usr/lib/sysctl.d/99-x.conf", "net.ipv4.ip_forward=0\n")

    assert pi.look().sysctl_files == {
        "net.ipv4.ip_forward": [("/usr/lib/sysctl.d/50-default.conf", "0"), ("/etc/sysctl.d/99-x.conf", "1")],
        "net/ipv4/conf/eth0.1/rp_filter": [("/etc/sysctl.d/zz-smart-meter.conf", "1")],
    }


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("network-config", "wifis: {wlan0: {access-points: {x: {password: abc}}}}\n", True),
        ("network-config", '    password: "0123"\n', True),
        ("network-config", "  # password: abc\n", False),
        ("network-config", "network: {version: 2}\n", False),
        ("wpa_supplicant.conf", "\tpsk=0123\n", True),
    ],
)
def test_a_passphrase_on_the_boot_partition_is_noticed(
    pi: FakePi, name: str, text: str, expected: bool
) -> None:
    pi.write(f"boot/firmware/{name}", text)

    assert pi.look().firmware.passphrase is expected


def test_the_rest_is_read_from_its_files(pi: FakePi) -> None:
    (pi.root / "etc").mkdir(exist_ok=True)
    (pi.root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    pi.write("etc/authbind/byport/502", "")
    pi.write("etc/authbind/byport/!udp", "")
    pi.write("run/reboot-required", "")
    pi.write("sys/class/net/bonding_masters", "")
    (pi.root / "sys/class/net/eth0").mkdir()
    (pi.root / "proc/sys/net/ipv6/conf").mkdir(parents=True)
    pi.write("proc/1/comm", "systemd\n")

    found = pi.look()

    assert found.zone == "Europe/Berlin"
    assert list(found.byport) == ["502"]
    assert found.reboot_required
    assert found.interfaces == ["eth0"]
    assert not found.ipv6, "without /proc/net/if_inet6"
    assert found.init == "systemd"


def test_the_user_before_sudo_is_named_with_his_home(pi: FakePi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "nobody")
    home = pwd.getpwnam("nobody").pw_dir
    pi.write(f"{home.lstrip('/')}/.ssh/keys", "# ssh-rsa old\nssh-ed25519 AAAA me\n")
    (pi.root / home.lstrip("/") / ".ssh/authorized_keys").symlink_to("keys")

    login = pi.look().login

    assert (login.name, login.home, login.has_key) == ("nobody", home, True)
    monkeypatch.setenv("SUDO_USER", "no such; user")
    assert (pi.look().login.name, pi.look().login.home) == ("", "")


def test_users_are_read(pi: FakePi) -> None:
    nobody = pwd.getpwnam("nobody")

    users = pi.look({**WANTED, "users": ["nobody", "nobody-knows"]}).users

    assert users["nobody-knows"] is None
    assert users["nobody"] is not None
    assert users["nobody"][1:] == (nobody.pw_dir, nobody.pw_shell, nobody.pw_gecos)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("1000\nanna@desk, process 7\n", True),
        ("900\nanna@desk, process 7\n", False),
        ("", False),
        ("soon\n", False),
    ],
)
def test_a_claim_counts_until_it_expires(pi: FakePi, claim: str, expected: bool) -> None:
    pi.write("proc/uptime", "950.25 1800.00\n")
    pi.write("run/smart-meter-claim", claim)

    assert pi.look().claimed is expected


def test_cleaned_text_is_always_accepted() -> None:
    text = "".join(map(chr, [*range(0x300), 0x202E, 0x200D, 0xDC80, 0xFEFF, 0x1F600, 0xE0041]))

    assert clean(clean(text)) == clean(text)
    assert "\N{GRINNING FACE}" in clean(text, 10_000)


def test_the_program_runs_as_one_text_on_this_machine() -> None:
    run = subprocess.run(
        [sys.executable, "-I", "-", json.dumps(WANTED)],
        input=assembled(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.stderr == ""
    assert read_answer(run.stdout, WANTED).user_id == os.geteuid()


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "roles/preflight/look").glob("*.py")), ids=lambda p: p.name
)
def test_the_program_is_in_the_language_of_python_3_9(path: Path) -> None:
    """So that an older Pi can answer which Python it has, and is refused with the fix."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_a_lock_of_this_process_does_not_count(pi: FakePi) -> None:
    lock = pi.write("var/lib/dpkg/lock", "")
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert machine.holder_of_dpkg(pi.root) == ""


def test_what_keeps_networkmanager_from_an_interface_is_named(pi: FakePi) -> None:
    pi.write("etc/network/interfaces", "auto lo\niface lo inet loopback\nallow-hotplug eth00\n")
    pi.write(
        "etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\n\n[ifupdown]\nmanaged=false\n"
    )
    pi.write("usr/lib/netplan/00-network-manager-all.yaml", "network: {renderer: NetworkManager}\n")
    assert pi.look().nm.unmanaged_by == {"wlan0": [], "eth0": []}

    pi.write("etc/network/interfaces.d/lan", "allow-hotplug usb0 eth0\niface eth0 inet dhcp\n")
    assert pi.look().nm.unmanaged_by == {"wlan0": [], "eth0": ["/etc/network/interfaces.d/lan"]}
    pi.write("etc/NetworkManager/conf.d/10-x.conf", "[keyfile]\nunmanaged-devices = mac:00:11\n")
    pi.write("run/NetworkManager/conf.d/20-x.conf", "[device-x]\nmanaged=0\n")
    pi.write("etc/netplan/50-x.yaml", "network:\n  renderer: networkd\n")
    assert pi.look().nm.unmanaged_by["wlan0"] == [
        "/etc/NetworkManager/conf.d/10-x.conf",
        "/run/NetworkManager/conf.d/20-x.conf",
        "/etc/netplan/50-x.yaml",
    ]
