"""Collects facts about this machine and its service. Judges nothing and changes nothing.

A fact that is not available is None; the judging functions decide what that means.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import re
import shutil
import sqlite3
import stat
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from smart_meter.concentrator import probe
from smart_meter.config import Config, MeterConfig
from smart_meter.config.small_file import read_small
from smart_meter.doctor import image
from smart_meter.doctor.machine import Card, Disk
from smart_meter.doctor.network import Firewall, Interface
from smart_meter.doctor.port import PortFile
from smart_meter.doctor.service import Answer, HistoryFile
from smart_meter.history.faults import DamagedError
from smart_meter.log.audit.reader import Reader, RecordedEvent
from smart_meter.modbus.functions import ExceptionCode
from smart_meter.net.modbus_client import ExceptionReplyError, ModbusClient, ModbusError
from smart_meter.registers.status_block import CORE, QUANTITY, START, decode

_PROGRAM_SECONDS = 10.0
_ANSWER_SECONDS = 3.0
_PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,MainPID,UnitFileState,User,"
    "NeedDaemonReload"
)
_EVENTS = 20_000
"""The most events that are judged, which bounds the memory that they take."""
_MODES_NONE = 0
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex takes 208; the rest is spare
_SECTOR = 512  # Documentation/block/stat.rst: always 512, whatever the device uses


def output_of(*command: str) -> str | None:
    """Return a program's standard output; None if it is missing, fails or takes too long."""
    path = shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are all from this module
            [path, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_SECONDS,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def text_of(path: Path) -> str | None:
    """Return a file's text; None if it can't be read."""
    try:
        return read_small(path).decode(errors="replace").strip()
    except OSError:
        return None


def _number(path: Path, base: int = 10) -> int | None:
    text = text_of(path)
    try:
        return int(text, base) if text else None
    except ValueError:
        return None


def content(path: Path, *, follow: bool = True) -> bytes | None:
    """Return a file's content; None if it can't be read. follow: as in read_small."""
    try:
        return read_small(path, follow=follow)
    except OSError:
        return None


def is_readable(path: Path) -> bool:
    """Whether this user may read a file; True for a file that does not exist."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def link(path: Path) -> str | None:
    """Return the target of a symbolic link."""
    try:
        return str(path.readlink())
    except OSError:
        return None


def unit(name: str) -> dict[str, str] | None:
    """Return the unit's properties that are judged, by name; None if systemd does not answer."""
    shown = output_of("systemctl", "show", name, f"--property={_PROPERTIES}")
    if shown is None:
        return None
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def is_active(name: str) -> bool:
    """Whether a unit is active."""
    return (unit(name) or {}).get("ActiveState") == "active"


def is_running(pid: int) -> bool:
    """Whether a process with this PID exists."""
    return Path(f"/proc/{pid}").is_dir()


def port_file(port: int) -> PortFile | None:
    """Return owner and mode of authbind's file for a port; None if there is none."""
    try:
        status = Path(f"/etc/authbind/byport/{port}").stat()
    except OSError:
        return None
    return PortFile(_user(status.st_uid), stat.S_IMODE(status.st_mode))


def has_authbind() -> bool:
    """Whether authbind is installed."""
    return Path("/usr/bin/authbind").exists()


def unprivileged_port() -> int | None:
    """Return the lowest port that any user may bind."""
    return _number(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start"))


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def interfaces() -> list[Interface] | None:
    """Return this machine's network interfaces; None if `ip` fails."""
    shown = output_of("ip", "-json", "-4", "address", "show")
    links = output_of("ip", "-json", "link", "show")
    if shown is None or links is None:
        return None
    # In the first list, an interface without an IPv4 address is missing or empty.
    addresses: dict[str, tuple[str, ...]] = {
        entry["ifname"]: tuple(f"{one['local']}/{one['prefixlen']}" for one in entry.get("addr_info", []))
        for entry in json.loads(shown)
        if entry.get("ifname")
    }
    signals = _signals()
    blocked = _is_blocked()
    return [
        Interface(
            name=name,
            up="UP" in entry["flags"],
            carrier="LOWER_UP" in entry["flags"],
            addresses=addresses.get(name, ()),
            wireless=Path(f"/sys/class/net/{name}/wireless").is_dir(),
            signal=signals.get(name),
            blocked=blocked and Path(f"/sys/class/net/{name}/wireless").is_dir(),
        )
        for entry in json.loads(links)
        if (name := entry.get("ifname", ""))
    ]


def _signals() -> dict[str, int]:
    """Return the signal strength of each Wi-Fi interface in dBm, by the interface's name."""
    rows = (text_of(Path("/proc/net/wireless")) or "").splitlines()[2:]
    found = [re.match(r"\s*(\S+): +\S+ +\S+ +(-\d+)", row) for row in rows]
    return {match[1]: int(match[2]) for match in found if match}


def _is_blocked() -> bool:
    """Whether rfkill blocks any Wi-Fi radio."""
    return any(
        text_of(radio / "type") == "wlan" and "1" in (text_of(radio / "soft"), text_of(radio / "hard"))
        for radio in Path("/sys/class/rfkill").glob("rfkill*")
    )


def has_firewall() -> bool:
    """Whether ufw is installed."""
    return Path("/usr/sbin/ufw").exists()


def firewall() -> Firewall | None:
    """Return ufw's status and rules; None if ufw fails or this user is not root, as ufw requires."""
    if os.geteuid() != 0:
        return None
    status, added = output_of("ufw", "status", "verbose"), output_of("ufw", "show", "added")
    if status is None or added is None:
        return None
    return Firewall(status, added, output_of("iptables", "-w", "5", "-S"))


def answer(host: str, port: int, meter: MeterConfig) -> Answer:
    """Read a meter's status block (FC04) from this machine, whose own programs may read.

    A service that is older than this program has only the block's first registers.
    """
    try:
        with ModbusClient.connect(host, port, _ANSWER_SECONDS) as client:
            # The read must not count as one of a zone's peer.
            client.announce(meter.unit_id, probe.PDU)
            try:
                block = client.read_input_registers(meter.unit_id, START, QUANTITY)
            except ExceptionReplyError as error:
                if error.code != ExceptionCode.ILLEGAL_DATA_ADDRESS:
                    raise
                block = client.read_input_registers(meter.unit_id, START, CORE)
            return Answer(decode(block))
    except ExceptionReplyError as error:
        return Answer(None, str(error))
    except ModbusError as error:
        return Answer(None, f"{host}:{port}: {error}")


def events_since(path: str, since: timedelta) -> list[RecordedEvent] | None:
    """Return the newest events of an audit trail within a time span; None if this user can't read it."""
    try:
        with closing(Reader(path)) as reader:
            return list(deque(reader.events(since), _EVENTS))
    except (sqlite3.Error, OSError, DamagedError):
        return None


def newest_events(path: str, count: int) -> list[RecordedEvent]:
    """Return the newest events of an audit trail; none if this user can't read it."""
    try:
        with closing(Reader(path)) as reader:
            return reader.newest(count)
    except (sqlite3.Error, OSError, DamagedError):
        return []


def history_file(path: str) -> HistoryFile | None:
    """Return the state of the history's file; None if this user may not see it."""
    file = Path(path)
    try:
        room = os.statvfs(file.parent)
    except FileNotFoundError:
        return HistoryFile(folder=False, owner=None)
    except OSError:
        return None
    try:
        names = [entry.name for entry in file.parent.iterdir()]
        status = file.stat() if file.name in names else None
    except OSError:
        return None
    return HistoryFile(
        folder=True,
        owner=None if status is None else _user(status.st_uid),
        bytes=0 if status is None else status.st_size,
        read_only=bool(room.f_flag & os.ST_RDONLY),
        quarantined=tuple(sorted(name for name in names if name.startswith(f"{file.name}.damaged-"))),
    )


def is_synchronised() -> bool | None:
    """Whether the kernel's clock is synchronised (adjtimex(2), read-only); None if not known."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    ctypes.memset(buffer, _MODES_NONE, _TIMEX_BYTES)
    try:
        state: int = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def installed_at(config: Path) -> float:
    """Return when this program or its configuration was written (Unix seconds): certainly in the past."""
    times = [0.0]
    for path in (config, Path(__file__).parent):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times)


def restart_due(flag: Path = Path("/run/reboot-required")) -> float | None:
    """Return for how many seconds an update has waited for a restart; None if none does."""
    try:
        return max(time.time() - flag.stat().st_mtime, 0)
    except OSError:
        return None


def uptime() -> float | None:
    """Return the seconds since the machine booted."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except OSError:
        return None


def journal() -> list[str] | None:
    """Return the files that journald has open; only root may look."""
    pid = (unit("systemd-journald.service") or {}).get("MainPID", "0")
    if pid == "0":
        return None
    try:
        files = [link(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return None
    return [file for file in files if file is not None and file.endswith(".journal")]


def disks(config: Config | None) -> list[Disk]:
    """Return the file systems of `/`, of the history and of the audit trail, without duplicates.

    The root of an image is read-only and full, as it is built: its state partition stands for it.
    """
    paths = [image.STATE if image.is_image() else "/"]
    if config is not None:
        files = config.history.path, config.events.path
        paths += [os.path.dirname(path) for path in files if path]
    seen: set[int] = set()
    found = []
    for path in paths:
        try:
            device = os.stat(path).st_dev
            room = os.statvfs(path)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            found.append(
                Disk(
                    path,
                    room.f_blocks * room.f_frsize,
                    room.f_bavail * room.f_frsize,
                    bool(room.f_flag & os.ST_RDONLY),
                )
            )
    return found


def card() -> Card | None:
    """Return the device that holds the root file system; None if it can't be found."""
    device = os.stat("/").st_dev
    part = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    try:
        folder = part.resolve(strict=True)
    except OSError:
        return None
    if (folder / "partition").exists():
        folder = folder.parent
    counters = (text_of(folder / "stat") or "").split()
    life = (text_of(folder / "device" / "life_time") or "").split()
    return Card(
        name=folder.name,
        kind=text_of(folder / "device" / "type") or "" if folder.name.startswith("mmcblk") else "",
        written=int(counters[6]) * _SECTOR if len(counters) > 6 else None,
        # One number for each type of memory in the device; the worse one counts.
        life=max((int(part, 16) for part in life), default=None),
        end_of_life=_number(folder / "device" / "pre_eol_info", 16),
        size=(_number(folder / "size") or 0) * _SECTOR or None,
    )


def passphrases(folder: Path = Path("/boot/firmware")) -> list[str]:
    """Return the files of Raspberry Pi Imager on the boot partition that have a Wi-Fi passphrase."""
    files = [folder / name for name in ("network-config", "wpa_supplicant.conf", "custom.toml")]
    line = r"(?m)^(?!\s*#).*\b(password|psk)\b[\"']?\s*[:=]\s*[\"']?\S"
    return [str(file) for file in files if re.search(line, text_of(file) or "")]


def temperature() -> float | None:
    """Return the processor's temperature in °C."""
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*"))
    values = [value for zone in zones if (value := _number(zone / "temp")) is not None]
    return max(values) / 1000 if values else None


def throttled() -> int | None:
    """Return the Raspberry Pi firmware's get_throttled bits, from the first source that has them."""
    bits = _number(Path("/sys/devices/platform/soc/soc:firmware/get_throttled"), 16)
    if bits is not None:
        return bits
    printed = re.search(r"throttled=0x([0-9a-fA-F]+)", output_of("vcgencmd", "get_throttled") or "")
    if printed:
        return int(printed[1], 16)
    for monitor in Path("/sys/class/hwmon").glob("hwmon*"):
        if text_of(monitor / "name") == "rpi_volt":
            return _number(monitor / "in0_lcrit_alarm")
    return None


def host_for(config: Config) -> str:
    """Return the address at which programs on this machine reach the service."""
    host = config.server.host
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is compared, not bound


def alive(state: Mapping[str, Any] | None, now: float, max_age: float) -> bool:
    """Whether the service that wrote the state file still runs.

    now: monotonic seconds. max_age: seconds after which the state file is too old.
    """
    if state is None or not {"pid", "port", "at", "started"} <= state.keys():
        return False
    return is_running(state["pid"]) and now - state["at"] <= max_age
