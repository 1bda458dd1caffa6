"""The answer of the look at a Pi: its fields, their types, and what each value can be.

Nothing of an answer is used unchecked: its texts reach command lines, files and the terminal. Fields are only
added; the roles may rely on those that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from roles.preflight.rules.answer import AnswerError, build, load

Address = Annotated[str, r"\d{1,3}(\.\d{1,3}){3}"]
Package = Annotated[str, r"[a-z0-9][a-z0-9+.-]{0,200}"]
Path = Annotated[
    str, r"/[^\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]{0,800}"
]
Port = Annotated[int, range(65536)]
Count = Annotated[int, range(2**63)]
State = Annotated[str, r"[a-z-]{0,40}"]
Unit = Annotated[str, r"[A-Za-z0-9:_.@\\-]{1,255}"]
User = Annotated[str, r"([A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,63}\$?)?"]
Uuid = Annotated[str, r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?"]
HostName = Annotated[str, r"([A-Za-z0-9._-]{1,64})?"]
FileState = (
    tuple[Annotated[str, r"[0-9a-f]{64}"], Annotated[str, r"[0-7]{4}"], str, str]
    | Literal["irregular"]
    | None
)
"""SHA-256, mode, owner, group; None if nothing is there; "irregular" if it is not a small regular file."""


OF_CONTROLLER = ("clock_ahead", "time")
"""What the controller adds to the variable `preflight_look` (action_plugins/preflight_look.py)."""


@dataclass(frozen=True, slots=True)
class Login:
    """The user that the controller logged in as, before sudo. has_key: whether authorized_keys has a key."""

    name: User
    home: Path | Literal[""]
    shell: Path | Literal[""]
    has_key: bool


@dataclass(frozen=True, slots=True)
class Dpkg:
    """interrupted: `dpkg --configure -a` is needed. lock: who runs dpkg or apt, as apt-get (pid 812)."""

    interrupted: bool
    lock: str


@dataclass(frozen=True, slots=True)
class Name:
    """node: the present host name; hosts: the text of /etc/hosts; hostname: that of /etc/hostname."""

    node: HostName
    hosts: Annotated[
        str, r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\ud800-\udfff]{0,65536}"
    ]
    hostname: HostName


@dataclass(frozen=True, slots=True)
class Device:
    """An interface as NetworkManager sees it.

    state: NMDeviceState; 100 is connected. connection, uuid, path: of the active profile and its activation.
    """

    managed: bool
    state: Annotated[int, range(1000)]
    reason: str
    connection: str
    uuid: Uuid
    path: Annotated[str, r"(/org/freedesktop/NetworkManager/ActiveConnection/\d{1,10})?"]
    addresses: list[Annotated[str, r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}"]]
    gateway: Address | Literal[""]
    mac: Annotated[str, r"([0-9a-f]{2}(:[0-9a-f]{2}){0,31})?"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile of NetworkManager. interface, mac: what it is bound to; file: where it is stored."""

    uuid: Uuid
    id: str
    type: str
    interface: str
    mac: str
    autoconnect: bool
    priority: Annotated[int, range(-999, 1000)]
    file: Path | Literal[""]


@dataclass(frozen=True, slots=True)
class Manager:
    """NetworkManager.

    devices: the zones' interfaces that it knows. unmanaged_by: by interface, the files that may keep it from
    being managed. radio: whether Wi-Fi is switched on.
    """

    running: bool
    version: str
    radio: bool
    devices: dict[str, Device]
    profiles: list[Profile]
    unmanaged_by: dict[str, list[Path]]
    checkpoints: Annotated[int, range(10_000)]


@dataclass(frozen=True, slots=True)
class Ufw:
    """enabled: by its configuration; active: its chains are in the kernel.

    added: the rules, as `ufw show added` prints them. defaults: the policies' lines of /etc/default/ufw.
    """

    installed: bool
    enabled: bool
    active: bool
    added: list[str]
    defaults: list[str]


@dataclass(frozen=True, slots=True)
class RootFileSystem:
    """volatile: changes are lost at the next restart; why: what shows that; ours: that of our own image.

    An image's own is read-only. Its changes are on the state partition, or are lost.
    """

    overlay: bool
    volatile: bool
    why: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Firmware:
    """passphrase: Raspberry Pi Imager's files on the boot partition have a Wi-Fi passphrase."""

    passphrase: bool


@dataclass(frozen=True, slots=True)
class Release:
    """The distribution. version: empty for testing and unstable; debian: the text of /etc/debian_version."""

    id: Annotated[str, r"[a-z0-9._-]{0,64}"]
    name: str
    version: str
    debian: str

    @property
    def major(self) -> int:
        """Return the major release; testing and unstable have none, and count as the newest."""
        number = self.version.partition(".")[0]
        return int(number) if number.isascii() and number.isdigit() else 99


@dataclass(frozen=True, slots=True)
class Look:
    """The state of a Pi.

    clock: Unix time. user_id: the user that the look ran as. free_bytes: on /, or on the state partition of
    an image. connection: SSH_CONNECTION, empty without SSH. claimed: by a run that changes the Pi. files,
    users: those that the roles manage; of a user, group, home, shell and comment. packages: the installed
    ones. zone: the time zone. units: ActiveState and UnitFileState; the former is empty in a root that does
    not run. journal: the files that journald has open. country, cmdline_country: the Wi-Fi country in
    force, and the one that the kernel's command line sets. sysctl_files: by key, each file that sets it,
    and the value, in the order in which they are applied. port: who listens on the concentrator's port:
    smart-meter, or such as nginx (pid 99). byport: the owners of authbind's files, by port. machine: the
    kernel's architecture. bits: the word size of programs. init: the name of process 1. systemd: whether it
    runs. profiles: the UUID in the keyfile of each zone. failed: commands that took too long or printed too
    much; their fields are empty.
    """

    layout: Literal[1]
    clock: Annotated[float, range(2**40)]
    user_id: Annotated[int, range(2**32)]
    free_bytes: Count
    network_manager: State
    connection: Annotated[str, r"([0-9A-Za-z.:%_]{1,80}( [0-9A-Za-z.:%_]{1,80}){3})?"]
    claimed: bool
    login: Login
    users: dict[User, tuple[str, str, str, str] | None]
    files: dict[str, FileState]
    packages: list[Package]
    dpkg: Dpkg
    name: Name
    zone: Annotated[str, r"([A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3})?"]
    units: dict[Unit, tuple[State, State]]
    journal: list[Path]
    nm: Manager
    country: Annotated[str, r"([A-Z]{2}|00)?"]
    cmdline_country: Annotated[str, r"([A-Za-z0-9]{2})?"]
    ufw: Ufw
    root: RootFileSystem
    sysctl_files: dict[str, list[tuple[Path, str]]]
    ipv6: bool
    time_daemon: Literal["chrony", "ntpsec", "systemd-timesyncd", ""]
    port: str
    byport: dict[Annotated[str, r"\d{1,5}"], str]
    firmware: Firmware
    reboot_required: bool
    python: Annotated[str, r"\d{1,2}\.\d{1,3}"]
    machine: Annotated[str, r"[A-Za-z0-9_.-]{1,64}"]
    bits: Literal[32, 64]
    release: Release
    init: str
    systemd: bool
    systemd_version: Annotated[int, range(1_000_000)]
    interfaces: list[Annotated[str, r"[^\s/\x00-\x1f\x7f-\x9f-][^\s/\x00-\x1f\x7f-\x9f]{0,90}"]]
    profiles: dict[Literal["field", "control"], Uuid]
    failed: list[str]

    def as_fact(self) -> dict[str, Any]:
        """Return it as the variable `preflight_look`: the names of the answer, lists instead of tuples."""
        fact: dict[str, Any] = _without_tuples(asdict(self))
        return fact


def read_answer(text: str, wanted: Mapping[str, Any]) -> Look:
    """Return what a Pi has answered to the question `wanted`. Raises AnswerError."""
    look = build(Look, load(text))
    if set(look.files) != set(wanted["files"]):
        raise AnswerError("files are not those that were asked for")
    if set(look.users) != set(wanted["users"]):
        raise AnswerError("users are not those that were asked for")
    if not set(wanted["units"]) <= set(look.units):
        raise AnswerError("units are not those that were asked for")
    if not set(look.nm.devices) <= set(wanted["interfaces"]):
        raise AnswerError("nm.devices are not those that were asked for")
    if set(look.profiles) != {"field", "control"}:
        raise AnswerError("profiles are not those of the zones")
    return look


def read_fact(fact: Mapping[str, Any]) -> Look:
    """Return the look of the variable `preflight_look`. Raises AnswerError."""
    return build(Look, {name: value for name, value in fact.items() if name not in OF_CONTROLLER})


def _without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_tuples(inner) for key, inner in value.items()}
    return [_without_tuples(inner) for inner in value] if isinstance(value, list | tuple) else value
