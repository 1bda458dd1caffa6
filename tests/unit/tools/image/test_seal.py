"""An image that has something of its builder's, or of another Pi's, can't be sealed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tools.image import clean, seal


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system that can be sealed."""
    for folder in ("tmp", "var/tmp", "run", "dev", "proc", "sys", "var/log/journal", "var/lib/apt/lists"):
        (tmp_path / folder).mkdir(parents=True)
    write(tmp_path / "etc/machine-id")
    write(tmp_path / "etc/passwd", "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n")
    write(tmp_path / "etc/shadow", "root:*:20000:0:99999:7:::\npi:!:20000:0:99999:7:::\n")
    write(tmp_path / "etc/gshadow", "root:*::\nsudo:*::pi\n")
    write(tmp_path / "etc/ssh/sshd_config", "PasswordAuthentication no\n")
    write(tmp_path / "etc/NetworkManager/system-connections/control.nmconnection", "[ipv4]\nmethod=manual\n")
    write(tmp_path / "var/lib/dpkg/status", "Package: dash\n")
    write(tmp_path / "var/cache/debconf/passwords.dat")
    write(tmp_path / "home/pi/.bashrc", "HISTSIZE=1000\n")
    return tmp_path


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
BREAKS = [
    ("SSH host keys", "etc/ssh/ssh_host_ed25519_key", "AAAA"),
    ("SSH host keys", "etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA"),
    ("SSH host keys", "etc/dropbear/dropbear_ed25519_host_key", "AAAA"),
    ("machine-id", "etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("machine-id", "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("random seeds", "var/lib/systemd/random-seed", "seed"),
    ("random seeds", "var/lib/systemd/credential.secret", "secret"),
    ("random seeds", "var/lib/urandom/random-seed", "seed"),
    ("random seeds", "boot/firmware/loader/random-seed", "seed"),
    ("passwords", "etc/shadow", "root:$y$j9T$salt$hash:20000:0:99999:7:::\n"),
    ("passwords", "etc/shadow", "pi::20000:0:99999:7:::\n"),
    # A locked password is one that can be unlocked.
    ("passwords", "etc/shadow", "pi:!$y$j9T$salt$hash:20000:0:99999:7:::\n"),
    ("passwords", "etc/shadow-", "pi:$6$salt$hash:20000:0:99999:7:::\n"),
    ("passwords", "etc/gshadow", "sudo:$6$salt$hash::pi\n"),
    ("passwords", "etc/gshadow-", "sudo:$6$salt$hash::pi\n"),
    ("passwords", "etc/passwd", "pi:$6$salt$hash:1000:1000::/home/pi:/bin/bash\n"),
    ("logs", "var/log/dpkg.log", "2026-11-27 install\n"),
    ("logs", "var/log/journal/0123/system.journal", "LPKSHHRH"),
    ("logs", "var/log/wtmp", ""),
    ("histories", "root/.bash_history", "passwd\n"),
    ("histories", "home/pi/.python_history", "import os\n"),
    ("histories", "home/pi/.lesshst", "x\n"),
    ("histories", "var/lib/smart-meter/history.db", "SQLite format 3"),
    ("histories", "root/.ansible", "x"),
    ("histories", "home/pi/.ansible", "x"),
    ("histories", "root/.cache", "x"),
    ("histories", "home/pi/.cache", "x"),
    ("package lists", "var/lib/apt/lists/deb_dists_trixie_InRelease", "Origin: Debian\n"),
    ("package lists", "var/cache/apt/pkgcache.bin", "x"),
    ("package lists", "var/cache/apt/archives/dash_1_arm64.deb", "x"),
    ("package lists", "var/lib/dpkg/status-old", "Package: dash\n"),
    ("package lists", "etc/ufw/before.rules.dpkg-old", "x"),
    ("package lists", "etc/ufw/before.rules.ucf-dist", "x"),
    ("package lists", "var/cache/debconf/config.dat-old", "x"),
    ("people's keys", "root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n"),
    ("people's keys", "home/pi/.ssh/id_ed25519", "x"),
    ("people's keys", "home/pi/.ssh/known_hosts", "x"),
    ("people's keys", "home/pi/.ssh/authorized_keys2", "x"),
    ("people's keys", "root/.netrc", "machine example.org\n"),
    ("people's keys", "root/.git-credentials", "x"),
    ("people's keys", "home/pi/.vault-password", "x"),
    ("secrets", "etc/ssl/private/key.pem", KEY),
    ("secrets", "opt/tool/key", KEY),
    ("secrets", "home/pi/key", KEY),
    ("secrets", "srv/key", KEY),
    ("secrets", "usr/local/etc/key", KEY),
    ("secrets", "etc/NetworkManager/system-connections/field.nmconnection", "[wifi-security]\npsk=secret\n"),
    ("secrets", "var/lib/smart-meter-guard/profiles/field.nmconnection", "[wifi-security]\npsk=secret\n"),
    ("secrets", "etc/wpa_supplicant/wpa_supplicant.conf", 'network={\n    psk="secret"\n}\n'),
    ("secrets", "srv/backup.yml", "users:\n  - password: secret\n"),
    ("secrets", "srv/backup.json", '{\n  "password": "secret"\n}\n'),
    ("secrets", "root/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
    ("secrets", "etc/apt/auth.conf.d/mirror.conf", "machine mirror.example login me password secret\n"),
    ("secrets", "etc/apt/auth.conf", "machine mirror.example login me\n"),
    ("secrets", "var/cache/debconf/passwords.dat.old", "x"),
    ("secrets", "var/cache/debconf/passwords.dat", "Name: passwd/root-password\n"),
    ("the building machine", "tmp/left", "x"),
    ("the building machine", "var/tmp/left", "x"),
    ("the building machine", "proc/left", "x"),
    ("the building machine", "sys/left", "x"),
    ("the building machine", "run/left.pid", "1\n"),
    ("the building machine", "dev/null", ""),
    ("the building machine", "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
    ("the building machine", "etc/apt/apt.conf.d/99mmdebstrap", "x"),
    ("the building machine", "etc/resolv.conf", "nameserver 192.0.2.1\n"),
    ("the building machine", "etc/apt/apt.conf.d/proxy", 'Acquire::http::Proxy "http://proxy.example";\n'),
]


def test_a_root_without_any_of_it_is_sealed(root: Path) -> None:
    assert seal.broken(root) == []


@pytest.mark.parametrize(("rule", "file", "text"), BREAKS, ids=[f"{r}: {f}" for r, f, _ in BREAKS])
def test_each_of_these_breaks_a_rule(root: Path, rule: str, file: str, text: str) -> None:
    write(root / file, text)

    found = seal.broken(root)

    assert [broken.rule for broken in found] == [rule]
    assert file in str(found[0])


def test_secrets_on_a_boot_partition_break_a_rule(tmp_path: Path) -> None:
    write(tmp_path / "config.txt", "arm_64bit=1\n")
    assert seal.broken_on_boot(tmp_path) == []
    write(tmp_path / "user-data", "#cloud-config\nchpasswd:\n  - password: secret\n")
    write(tmp_path / "keys/host", KEY)

    assert [str(broken) for broken in seal.broken_on_boot(tmp_path)] == [
        "secrets: keys/host has a private key",
        "secrets: user-data has a password",
    ]


def test_a_missing_machine_id_breaks_a_rule(root: Path) -> None:
    (root / "etc/machine-id").unlink()

    assert [str(broken) for broken in seal.broken(root)] == [
        "machine-id: etc/machine-id is missing: it has to be an empty file"
    ]


def test_the_lock_of_the_package_lists_may_stay(root: Path) -> None:
    write(root / "var/lib/apt/lists/lock")

    assert seal.broken(root) == []


def test_every_rule_is_broken_by_one_of_these() -> None:
    assert {rule.name for rule in seal.RULES} == {rule for rule, _, _ in BREAKS}


def test_public_examples_are_no_secrets(root: Path) -> None:
    for name in ("etc/pam.d/x", "etc/ssl/certs/x.pem", "var/lib/dpkg/info/x", "opt/smart-meter/releases/1/x"):
        write(root / name, "password = example\n" + KEY)

    assert seal.broken(root) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [(KEY, "a private key"), ("$ANSIBLE_VAULT;1.1;AES256\n", "an Ansible vault"), ("psk=x\n", "a password")],
)
def test_the_kind_of_a_secret_is_named(root: Path, text: str, what: str) -> None:
    write(root / "etc/left", text)

    assert [str(broken) for broken in seal.broken(root)] == [f"secrets: etc/left has {what}"]


def test_links_are_not_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write(outside / "key", KEY)
    (root / "etc/key").symlink_to(outside / "key")
    (root / "home/pi/.ssh").symlink_to(outside)
    (root / "etc/resolv.conf").symlink_to("/run/NetworkManager/resolv.conf")

    assert seal.broken(root) == []


@pytest.mark.parametrize(
    "left",
    [
        lambda root: write(root / "etc/ssh/ssh_host_rsa_key", KEY),
        lambda root: write(root / "etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        lambda root: write(root / "var/log/apt/term.log", "x"),
        lambda root: write(root / "var/lib/apt/lists/partial/x", "x"),
        lambda root: write(root / "etc/shadow-", "pi:$6$salt$hash:20000:0:99999:7:::\n"),
        lambda root: write(root / "root/.ansible/tmp/x", "x"),
        lambda root: write(root / "etc/resolv.conf", "nameserver 192.0.2.1\n"),
        lambda root: (root / "dev/fd").symlink_to("/proc/self/fd"),
    ],
)
def test_what_a_build_leaves_is_removed(root: Path, left: Callable[[Path], None]) -> None:
    left(root)

    clean.clean(root)

    assert seal.broken(root) == []


def test_secrets_are_not_removed_in_silence(root: Path) -> None:
    write(root / "etc/NetworkManager/system-connections/x.nmconnection", "psk=secret\n")
    write(root / "etc/shadow", "root:$y$j9T$salt$hash:20000:0:99999:7:::\n")

    clean.clean(root)

    assert {broken.rule for broken in seal.broken(root)} == {"passwords", "secrets"}


def test_dbus_uses_the_machine_id_of_the_system(root: Path) -> None:
    (root / "var/lib/dbus").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dbus/machine-id").write_text("0123456789abcdef0123456789abcdef\n")

    clean.clean(root)

    assert str((root / "var/lib/dbus/machine-id").readlink()) == "/etc/machine-id"
    assert seal.broken(root) == []


def test_cleaning_keeps_the_folders_of_logs(root: Path) -> None:
    write(root / "var/log/apt/term.log", "x")

    clean.clean(root)

    assert (root / "var/log/apt").is_dir()


def test_the_first_boot_makes_nothing_again(root: Path) -> None:
    clean.clean(root)

    # systemd.unit(5), ConditionNeedsUpdate=
    assert (root / "etc/.updated").is_file()
    assert (root / "var/.updated").is_file()


def test_nothing_is_newer_than_the_epoch(root: Path) -> None:
    (root / "etc/link").symlink_to("/nowhere")

    clean.set_times(root, 1_700_000_000)

    assert {path.lstat().st_mtime for path in [root, *root.rglob("*")]} == {1_700_000_000}
