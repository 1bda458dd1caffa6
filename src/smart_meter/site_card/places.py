"""What a site card may set: the program's own table of the files, which a card only names by their keys.

A card contains a file's text. Its path, its owner and its mode are here, and so is the form that the text
must have: a card can't name another file, or make a secret readable.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

SERVICE_USER = "smart-meter"
CONFIG, SERVICE, SOCKET = "config", "service", "socket"
SSHD = "sshd"
HOST_NAME = "host_name"
PROFILES = {"field": "field_profile", "control": "control_profile"}
WIFI_UNIT = "wifi_unit"

_UNITS = "/etc/systemd/system"
_MANAGER = "/etc/NetworkManager"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text of the card goes, and who may use the file.

    optional: a card may leave it out; then the file is removed. copy: a second path with the same text.
    link: the symbolic link that enables the unit at boot.
    masks: what differs from Pi to Pi in the text (`masked`). None: `checks` has another check for the text.
    """

    key: str
    path: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    optional: bool = False
    copy: str = ""
    link: str = ""
    masks: tuple[tuple[str, str], ...] | None = None


_ADDRESS = r"\d{1,3}(?:\.\d{1,3}){3}"
_INTERFACE = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}"
_NETWORK = rf"{_ADDRESS}/\d\d?"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_INTERFACES = rf"interface-name:{_INTERFACE}(?:,interface-name:{_INTERFACE})*"
_HOST = r"[A-Za-z0-9:][A-Za-z0-9:.-]{0,252}"
_PLACE = r"/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*"

PLACES = (
    Place(HOST_NAME, "/etc/hostname"),
    Place(CONFIG, "/etc/smart-meter/config.toml", 0o640, group=SERVICE_USER),
    Place(SSHD, "/etc/ssh/sshd_config.d/10-smart-meter.conf", optional=True),
    Place(
        PROFILES["field"],
        f"{_MANAGER}/system-connections/smart-meter-field.nmconnection",
        0o600,
        copy="/var/lib/smart-meter-guard/profiles/smart-meter-field.nmconnection",
    ),
    Place(
        PROFILES["control"],
        f"{_MANAGER}/system-connections/smart-meter-control.nmconnection",
        0o600,
        copy="/var/lib/smart-meter-guard/profiles/smart-meter-control.nmconnection",
    ),
    Place(
        "network_settings",
        f"{_MANAGER}/conf.d/90-smart-meter.conf",
        masks=((rf"=(?:{_INTERFACES})$", "=INTERFACES"),),
    ),
    Place(
        "network_confirmed",
        f"{_MANAGER}/conf.d/91-smart-meter.conf",
        masks=(
            (rf"=(?:{_INTERFACES})$", "=INTERFACES"),
            (rf"=uuid:{_UUID}$", "=UUID"),
        ),
    ),
    Place(
        "kernel",
        "/etc/sysctl.d/zz-smart-meter.conf",
        masks=((rf"^-net/ipv4/conf/{_INTERFACE}/rp_filter = 1$", "-net/ipv4/conf/INTERFACE/rp_filter = 1"),),
    ),
    Place(
        "ping",
        f"{_UNITS}/smart-meter-ping.service",
        masks=(
            (
                rf"(?:^ExecStart=/usr/sbin/iptables -w 5 -t raw -A smart-meter-ping -i {_INTERFACE} "
                rf"-s {_NETWORK} -d {_ADDRESS} -j RETURN\n)+",
                "HOSTS\n",
            ),
        ),
    ),
    Place(
        WIFI_UNIT,
        f"{_UNITS}/smart-meter-wifi.service",
        optional=True,
        link=f"{_UNITS}/multi-user.target.wants/smart-meter-wifi.service",
        masks=(),
    ),
    Place(
        "wifi_program",
        "/usr/local/sbin/smart-meter-wifi",
        0o755,
        optional=True,
        masks=((rf"^interface={_INTERFACE}$", "interface=INTERFACE"),),
    ),
    Place(
        "wifi_country",
        "/etc/modprobe.d/smart-meter-wifi.conf",
        optional=True,
        masks=((r"ieee80211_regdom=[A-Z]{2}$", "ieee80211_regdom=COUNTRY"),),
    ),
    Place(
        SERVICE,
        f"{_UNITS}/smart-meter.service",
        masks=(
            (rf"^IPAddressAllow=localhost(?: {_NETWORK})+$", "IPAddressAllow=NETWORKS"),
            (r"^(RestartSec|WatchdogSec)=[0-9.]{1,12}s$", r"\1=SECONDS"),
            (r"^LogRateLimitBurst=\d{1,9}$", "LogRateLimitBurst=LINES"),
            (rf"^# It serves {_HOST}, port \d{{1,5}}:", "# It serves HOST:"),
            (r"\(/etc/authbind/byport/\d{1,5}\)", "(PORT)"),
            (rf"^# The minus: [^\n]*\nReadWritePaths=-{_PLACE}\n", ""),
        ),
    ),
    Place(
        SOCKET,
        f"{_UNITS}/smart-meter.socket",
        optional=True,
        link=f"{_UNITS}/sockets.target.wants/smart-meter.socket",
        masks=(
            (rf"^IPAddressAllow=localhost(?: {_NETWORK})+$", "IPAddressAllow=NETWORKS"),
            (rf"^ListenStream=(?:{_ADDRESS}|\[[0-9a-f:]+\]):\d{{1,5}}$", "ListenStream=ADDRESS"),
            (r"^PollLimitIntervalSec=[0-9.]{1,12}s$", "PollLimitIntervalSec=SECONDS"),
        ),
    ),
    Place(
        "journal",
        "/etc/systemd/journald.conf.d/50-smart-meter.conf",
        masks=((r"^(SystemMaxUse|RuntimeMaxUse)=\d{1,15}[KMGT]?$", r"\1=SIZE"),),
    ),
    Place(
        "time",
        "/etc/systemd/timesyncd.conf.d/50-smart-meter.conf",
        masks=((rf"^NTP={_HOST}(?: {_HOST})*\n", ""),),
    ),
    Place(
        "watchdog",
        "/etc/systemd/system.conf.d/90-smart-meter.conf",
        optional=True,
        masks=((r"^RuntimeWatchdogSec=(?:off|\d{1,5})$", "RuntimeWatchdogSec=SECONDS"),),
    ),
    Place(
        "updates",
        "/etc/apt/apt.conf.d/52smart-meter",
        masks=((r'(Update-Package-Lists|Unattended-Upgrade) "[01]";$', r'\1 "";'),),
    ),
    Place(
        "restart_program",
        "/usr/local/sbin/smart-meter-restart",
        0o755,
        optional=True,
        masks=((r"^days=[01]$", "days=DAYS"),),
    ),
    Place("restart_unit", f"{_UNITS}/smart-meter-restart.service", optional=True, masks=()),
    Place(
        "restart_timer",
        f"{_UNITS}/smart-meter-restart.timer",
        optional=True,
        link=f"{_UNITS}/timers.target.wants/smart-meter-restart.timer",
        masks=((r"^OnCalendar=\*-\*-\* [0-2]\d:[0-5]\d:00$", "OnCalendar=TIME"),),
    ),
)
BY_KEY = {place.key: place for place in PLACES}
BY_PATH = {place.path: place for place in PLACES}

TOGETHER = (
    (WIFI_UNIT, "wifi_program", "wifi_country"),
    ("restart_unit", "restart_program", "restart_timer"),
)
"""Keys of which a card has all or none."""

OF_THE_IMAGE = frozenset(
    {
        "/etc/NetworkManager/dispatcher.d/50-smart-meter",
        f"{_UNITS}/smart-meter-guard.service",
        f"{_UNITS}/smart-meter-guard@.service",
        f"{_UNITS}/smart-meter-led.service",
        f"{_UNITS}/smart-meter-site-card.service",
        "/etc/udev/rules.d/90-smart-meter-led.rules",
        "/usr/local/sbin/smart-meter-guard",
        "/usr/local/sbin/smart-meter-led",
    }
)
"""The roles' files that are the same on every Pi: an image has them."""

NOT_ON_AN_IMAGE = frozenset(
    {"/etc/cloud/cloud.cfg.d/99-smart-meter.cfg", "/etc/profile.d/smart-meter-idle.sh"}
)
"""Files for a system with cloud-init, and for Debian 12."""


_MANAGED = re.compile(r"\A((?:#![^\n]*\n)?(?:#|//) )[^\n]*[^\\\n]\n")
"""The first comment, which Ansible's configuration sets (ansible_managed)."""


def masked(place: Place, text: str) -> str:
    """Return the SHA-256 of a text in which what differs from Pi to Pi is replaced.

    `forms.FORMS` has the digest of each template's text, so a text passes only if the rest of it is the
    template's.
    """
    text = _MANAGED.sub(r"\1MANAGED\n", text)
    for pattern, replacement in place.masks or ():
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return hashlib.sha256(text.encode()).hexdigest()
