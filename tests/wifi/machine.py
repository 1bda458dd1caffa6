"""A Pi that is a virtual machine instead of a container."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from tests.virtual_pi import Lab, LabError, Pi, cgroups, networks, places, state
from tests.virtual_pi.commands import SYSTEM_PATH, CommandError, run
from tests.virtual_pi.state import PiState
from tests.wifi import root
from tests.wifi.agent import Agent

# In the order in which the kernel finds them, so that eth0 is the first.
_WIRED = {"eth0": places.CONTROL, "uplink0": places.ROUTER}
_ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "LOGNAME=root", f"PATH={SYSTEM_PATH}", "TERM=dumb", "USER=root")
_KERNEL = (
    *("root=/dev/vda", "rw", "console=ttyS0", "quiet"),
    # The kernel's names for interfaces, as on a Pi.
    "net.ifnames=0",
    # Switched off, since they take an emulated processor long and are irrelevant to the tests.
    *("mitigations=off", "audit=0", "nokaslr", "cryptomgr.notests", "tsc=reliable"),
)
# Without acceleration a boot takes less than a minute on an idle machine, and several on a busy one.
BOOT_SECONDS = 600


class RadioPi(Pi):
    """A Pi with simulated radios, created by `boot`. Its wlan0 has no cable, see air.AccessPoint."""

    def __init__(self, state: PiState, password: str, layers: root.Layers) -> None:
        super().__init__(state, password)
        self._layers = layers
        self._disk = places.pi_disk(self.lab, self.name)

    @property
    def is_on(self) -> bool:
        return any(cgroups.processes(cgroups.of_pi(self.lab, self.name)))

    def run(
        self, command: Sequence[str | Path], *, check: bool = True, timeout: float = 60, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside the machine, without its network and SSH, like Pi.run."""
        if not self.is_on:
            raise LabError(f"{self.name} is off: no command can run inside it")
        words = [str(word) for word in command]
        inside = ["/usr/bin/env", "-i", *_ENVIRONMENT, "timeout", "--signal=KILL", str(timeout), *words]
        with Agent(self.folder / "agent", timeout=60) as agent:
            done = agent.run(inside, timeout + 20, stdin)
        if done.returncode == 137:
            raise subprocess.TimeoutExpired(words, timeout, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise CommandError(done.returncode, [f"{self.name}:", *words], done.stdout, done.stderr)
        return done

    def switch_on(self) -> None:
        """Switch the machine on, and return without waiting for the boot."""
        if self.is_on:
            raise LabError(f"{self.name} is on already")
        group = cgroups.create(cgroups.of_pi(self.lab, self.name))
        own = places.namespace(self.lab, self.name)
        # QEMU puts itself into the background once it has opened its interfaces.
        run(cgroups.in_group(group, networks.in_namespace(own, self._command())), env={"PATH": SYSTEM_PATH})

    def connect_cables(self) -> None:
        """Connect eth0 and uplink0, each through a bridge and a tap device in the machine's namespace."""
        own = places.namespace(self.lab, self.name)
        run(["ip", "netns", "add", own])
        for interface, what in _WIRED.items():
            networks.connect_tap(self.lab, self.name, self.number, interface, what)

    def flash(self, public_key: str) -> str:
        """Create the machine's disk, and return its host keys as lines of a known_hosts file."""
        upper = self._disk / "upper"
        links = upper / "usr/lib/systemd/network"
        links.mkdir(parents=True)
        mac = places.mac_address(self.lab, self.name, "uplink0")
        (links / "10-uplink0.link").write_text(f"[Match]\nMACAddress={mac}\n\n[Link]\nName=uplink0\n")
        root.flash(self._layers, self._disk, {"PI_PASSWORD": self.password, "PI_PUBLIC_KEY": public_key})
        keys = sorted((upper / "etc/ssh").glob("ssh_host_*_key.pub"))
        return "".join(f"{self.name} {key.read_text().rpartition(' ')[0]}\n" for key in keys)

    def _command(self) -> list[str]:
        command = [
            *("qemu-system-x86_64", "-M", "q35,sata=off,smbus=off,i8042=off", "-accel", "tcg"),
            # One processor: with two emulated ones, the kernel panics if one executes an instruction that
            # the other is just patching ("Oops: int3").
            *("-cpu", "Nehalem", "-smp", "1", "-m", "1G"),
            *("-nodefaults", "-display", "none", "-daemonize", "-name", self.name),
            *("-kernel", self._layers.kernel, "-initrd", self._layers.initrd),
            *("-append", " ".join(_KERNEL)),
            *("-drive", f"file={self._disk / 'disk.img'},format=raw,if=virtio,cache=unsafe,discard=unmap"),
            *("-chardev", f"file,id=console,path={self.console_log},append=on", "-serial", "chardev:console"),
            *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=agent,path={self.folder / 'agent'},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        ]
        for interface in _WIRED:
            mac = places.mac_address(self.lab, self.name, interface)
            tap = f"tap,id={interface},ifname=tap-{interface},script=no,downscript=no"
            command += ["-netdev", tap, "-device", f"virtio-net-pci,netdev={interface},mac={mac},romfile="]
        return [str(word) for word in command]

    def _signal(self, number: int) -> None:
        # Its systemd is a process of another kernel, so it can only be signalled from inside.
        self.run(["kill", f"-{number}", "1"])

    def _boot_identity(self) -> tuple[int, str] | None:
        try:
            return 1, self.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
        except (LabError, subprocess.TimeoutExpired):
            return None


def require_machine() -> None:
    """Raise LabError unless this machine can run the virtual machines."""
    if platform.machine() != "x86_64":
        raise LabError(f"a Pi with radios needs an x86_64 machine, but this one is {platform.machine()}")
    programs = {"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs"}
    missing = [package for name, package in programs.items() if not shutil.which(name, path=SYSTEM_PATH)]
    if missing:
        raise LabError(f"missing packages; install them with: apt-get install {' '.join(missing)}")
    if not Path("/dev/net/tun").exists():
        raise LabError("/dev/net/tun is missing, which the tap devices need; load the kernel module tun")


def boot(lab: Lab, name: str) -> RadioPi:
    """Flash a new machine, switch it on, and return it when its sshd answers on the control network.

    The first one on a machine takes longer, since the root file system is built.
    """
    require_machine()
    places.check_pi_name(name)
    if name in state.names(lab.name):
        raise LabError(f"lab {lab.name!r} has a Pi {name!r} already")
    number = max((pi.number for pi in lab.pis), default=0) + 1
    places.pi_state(lab.name, name).mkdir(parents=True)
    folder = places.pi_disk(lab.name, name)
    folder.mkdir(parents=True)
    with places.locked("build"):
        layers = root.ready(lab.log)
        saved = PiState(lab.name, name, number, layers.base)
        saved.save()
        pi = RadioPi(saved, lab.password, layers)
        host_keys = pi.flash(lab.ssh_key.with_suffix(".pub").read_text().strip())
    with lab.known_hosts.open("a") as file:
        file.write(host_keys)
    pi.connect_cables()
    started = monotonic()
    lab.log(f"booting {name}")
    pi.switch_on()
    pi.wait_for(lambda: _answers(lab, pi), BOOT_SECONDS, "does not answer over SSH from the control network")
    lab.log(f"{name} answers at {pi.bootstrap_address} after {monotonic() - started:.1f} s")
    return pi


def _answers(lab: Lab, pi: RadioPi) -> bool:
    if not pi.leased("eth0") or not pi.leased("uplink0"):
        return False
    return lab.run("control", lab.ssh(pi, ["true"]), check=False).returncode == 0
