"""The seal: what an image must not contain. A build that breaks one of these rules fails.

An image is the same on every card, so everything that has to be different on each Pi (keys, machine-id,
random seeds) and everything that belongs to the machine that built it is a mistake. `RULES` is the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# The folders that are searched for secrets: what packages ship under /usr and /boot is public.
_SEARCHED = ("etc", "home", "opt", "root", "srv", "usr/local", "var")
_MAX_SEARCHED = 4 * 1024 * 1024
_SECRETS = (
    (re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n"), "a private key"),
    (re.compile(rb"^\$ANSIBLE_VAULT;", re.MULTILINE), "an Ansible vault"),
    (
        re.compile(
            rb"^\s*(-\s+)?['\"]?(psk|wep-key\d|leap-password|password|sae_password)['\"]?[ \t]*[=:][ \t]*\S",
            re.M,
        ),
        "a password",
    ),
)
# Public examples of packages, and settings whose value is not a secret.
_NO_SECRETS = re.compile(r"^etc/(pam\.d|ssl/certs|ca-certificates)/|^var/lib/dpkg/|^opt/[^/]+/releases/")
_PASSWORDS = {"shadow": 1, "shadow-": 1, "gshadow": 1, "gshadow-": 1}
_NO_PASSWORD = re.compile(r"[!*]*")
_SHELL_HISTORIES = re.compile(r"\.\w*hist(ory)?\w*|\.lesshst|\.viminfo|\.wget-hsts|\.node_repl_history")
_OF_PEOPLE = (
    "authorized_keys",
    "authorized_keys2",
    "known_hosts",
    "id_*",
    ".netrc",
    ".git-credentials",
    ".vault-pass*",
)


class Rule(NamedTuple):
    """A rule of the seal: what it forbids, and a function that names each thing in a root that breaks it."""

    name: str
    broken: Callable[[Path], Iterator[str]]


class Broken(NamedTuple):
    """Something in a root that breaks a rule. what: a path below the root, and the reason if it needs one."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def broken(root: Path) -> list[Broken]:
    """Return everything in the root file system that breaks a rule, in the order of the rules."""
    return [Broken(rule.name, what) for rule in RULES for what in rule.broken(root)]


def broken_on_boot(folder: Path) -> list[Broken]:
    """Return everything among the files of a FAT partition that breaks the rule of secrets."""
    return [Broken("secrets", what) for what in _with_secrets(folder, _files(folder, "."))]


def _files(root: Path, *folders: str) -> Iterator[Path]:
    """Yield everything below these folders that is not a folder, sorted. Links are not followed."""
    for folder in folders:
        if (root / folder).is_dir() and not (root / folder).is_symlink():
            yield from sorted(p for p in (root / folder).rglob("*") if p.is_symlink() or not p.is_dir())


def _named(root: Path, *patterns: str) -> Iterator[str]:
    for pattern in patterns:
        yield from (str(path.relative_to(root)) for path in sorted(root.glob(pattern)))


def _host_keys(root: Path) -> Iterator[str]:
    yield from _named(root, "etc/ssh/ssh_host_*", "etc/dropbear/*_host_key")


def _machine_id(root: Path) -> Iterator[str]:
    path = root / "etc/machine-id"
    # systemd fills an empty file. Without one, it would also reset which units are enabled.
    if path.is_symlink() or not path.is_file():
        yield "etc/machine-id is missing: it has to be an empty file"
    elif path.stat().st_size:
        yield "etc/machine-id is not empty"
    dbus = root / "var/lib/dbus/machine-id"
    if dbus.exists() and not dbus.is_symlink():
        yield "var/lib/dbus/machine-id"


def _random_seeds(root: Path) -> Iterator[str]:
    yield from _named(root, "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret")
    yield from _named(root, "boot/**/random-seed", "var/lib/urandom/random-seed")


def _passwords(root: Path) -> Iterator[str]:
    for name, field in _PASSWORDS.items():
        yield from _set_passwords(root / "etc" / name, field, f"etc/{name}")
    passwd = root / "etc/passwd"
    for line in passwd.read_text(encoding="utf-8").splitlines() if passwd.is_file() else []:
        user, _, rest = line.partition(":")
        if not rest.startswith("x:"):
            yield f"etc/passwd: the password of {user} is not in etc/shadow"


def _set_passwords(path: Path, field: int, name: str) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        fields = line.split(":")
        # An empty field means that no password is needed.
        if len(fields) <= field or not fields[field] or not _NO_PASSWORD.fullmatch(fields[field]):
            yield f"{name}: {fields[0]} has a password, or needs none"


def _logs(root: Path) -> Iterator[str]:
    yield from (str(path.relative_to(root)) for path in _files(root, "var/log"))


def _histories(root: Path) -> Iterator[str]:
    for path in _files(root, "root", "home"):
        if _SHELL_HISTORIES.fullmatch(path.name):
            yield str(path.relative_to(root))
    yield from (str(path.relative_to(root)) for path in _files(root, "var/lib/smart-meter"))
    yield from _named(root, "root/.ansible", "home/*/.ansible", "root/.cache", "home/*/.cache")


def _package_lists(root: Path) -> Iterator[str]:
    for path in _files(root, "var/lib/apt/lists", "var/cache/apt"):
        if path.name != "lock":
            yield str(path.relative_to(root))
    yield from _named(
        root, "var/lib/dpkg/*-old", "var/cache/debconf/*-old", "etc/**/*.dpkg-*", "etc/**/*.ucf-*"
    )


def _people(root: Path) -> Iterator[str]:
    for path in _files(root, "root", "home"):
        if any(path.match(pattern) for pattern in _OF_PEOPLE):
            yield str(path.relative_to(root))


def _secrets(root: Path) -> Iterator[str]:
    searched = _files(root, *_SEARCHED)
    yield from _with_secrets(
        root, (path for path in searched if not _NO_SECRETS.search(str(path.relative_to(root))))
    )
    yield from _named(root, "etc/apt/auth.conf", "etc/apt/auth.conf.d/*", "var/cache/debconf/passwords.dat.*")
    debconf = root / "var/cache/debconf/passwords.dat"
    if debconf.is_file() and debconf.stat().st_size:
        yield "var/cache/debconf/passwords.dat is not empty"


def _with_secrets(root: Path, files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        if not path.is_symlink() and path.is_file() and path.stat().st_size <= _MAX_SEARCHED:
            content = path.read_bytes()
            for pattern, what in _SECRETS:
                if pattern.search(content):
                    yield f"{path.relative_to(root)} has {what}"


def _of_the_builder(root: Path) -> Iterator[str]:
    for folder in ("tmp", "var/tmp", "run", "dev", "proc", "sys"):
        yield from (str(path.relative_to(root)) for path in sorted((root / folder).glob("*")))
    yield from _named(root, "usr/sbin/policy-rc.d", "etc/apt/apt.conf.d/99mmdebstrap")
    resolver = root / "etc/resolv.conf"
    if resolver.is_file() and not resolver.is_symlink() and resolver.stat().st_size:
        yield "etc/resolv.conf names name servers"
    for path in _files(root, "etc/apt"):
        if path.is_file() and re.search(rb"(?i)^\s*Acquire::\S*proxy", path.read_bytes(), re.MULTILINE):
            yield f"{path.relative_to(root)} names a proxy"


RULES = (
    Rule("SSH host keys", _host_keys),
    Rule("machine-id", _machine_id),
    Rule("random seeds", _random_seeds),
    Rule("passwords", _passwords),
    Rule("logs", _logs),
    Rule("histories", _histories),
    Rule("package lists", _package_lists),
    Rule("people's keys", _people),
    Rule("secrets", _secrets),
    Rule("the building machine", _of_the_builder),
)
