"""A booted image in a lab: a virtual machine between the field zone and the control zone, with a site card.

The lab's other parts are real as well: the ESP32's and the Opta's tools, and an operator's laptop.
"""

from __future__ import annotations

import enum
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.image import disk

from tests.controller import ADDRESS
from tests.image.machine import BOOT_SECONDS, PC, drive, qemu
from tests.virtual_pi import Lab, LabError, Pi, cgroups, networks, places
from tests.virtual_pi.commands import SYSTEM_PATH, CommandError, run
from tests.virtual_pi.state import PiState

# In the order in which the kernel finds them: eth0 and eth1.
_CABLES = {"eth0": places.CONTROL, "eth1": places.FIELD}
SITE_CARD = "site-card.toml"
GRUB = "grub/grub.cfg"
ANSWER = "site-card-answer.txt"


class Flushes(enum.Enum):
    """What the card does with a flush when the power is cut.

    NONE: what was written is on the card at once. HONOURED: what was not flushed is lost, the worst that a
    power cut can do. IGNORED: the same, and a flush does nothing. The values of the last two are nbdkit's.
    """

    NONE = ""
    HONOURED = "writeback"
    IGNORED = "unsafe"


class ImagePi(Pi):
    """A virtual machine that boots an image. `run` uses SSH: nothing but the image is inside.

    card: the disk image. It gets what the machine writes, as `flushes` states.
    """

    flushes = Flushes.NONE
    others: Sequence[str] = ()
    """QEMU's options for what else the machine has."""

    def __init__(self, lab: Lab, name: str, card: Path) -> None:
        number = max((pi.number for pi in lab.pis), default=0) + 1
        places.pi_state(lab.name, name).mkdir(parents=True)
        state = PiState(lab.name, name, number, card)
        state.save()
        super().__init__(state, lab.password)
        self.card = card
        self._in = lab
        own = places.namespace(lab.name, name)
        run(["ip", "netns", "add", own])
        for interface, what in _CABLES.items():
            networks.connect_tap(lab.name, name, number, interface, what)

    @property
    def is_on(self) -> bool:
        return any(cgroups.processes(cgroups.of_pi(self.lab, self.name)))

    def switch_on(self) -> None:
        """Switch the machine on, and return without waiting for the boot."""
        if self.is_on:
            raise LabError(f"{self.name} is on already")
        group = cgroups.create(cgroups.of_pi(self.lab, self.name))
        command = qemu(PC, self._drive(group), self.console_log)
        for interface in _CABLES:
            mac = places.mac_address(self.lab, self.name, interface)
            tap = f"tap,id={interface},ifname=tap-{interface},script=no,downscript=no"
            command += ["-netdev", tap, "-device", f"virtio-net-pci,netdev={interface},mac={mac},romfile="]
        command += self.others
        own = places.namespace(self.lab, self.name)
        # QEMU puts itself into the background once it has opened its interfaces.
        daemon = networks.in_namespace(own, [*command, "-daemonize"])
        run(cgroups.in_group(group, daemon), env={"PATH": SYSTEM_PATH})

    def power_cut(self) -> None:
        """Cut the power of the machine and its card."""
        cgroups.kill(cgroups.of_pi(self.lab, self.name))
        self.wait_for(self._has_let_go, 60, "still has power", powered=False)

    def _has_let_go(self) -> bool:
        """Return whether the machine is off, and the kernel has taken its interfaces back."""
        own = places.namespace(self.lab, self.name)
        # A tap device has a carrier while a process has it open.
        taps = (run(["ip", "-netns", own, "link", "show", f"tap-{name}"]).stdout for name in _CABLES)
        return not self.is_on and not any("LOWER_UP" in tap for tap in taps)

    def _drive(self, group: Path) -> list[str]:
        """Return QEMU's options for the card, and start what loses its writes at a power cut."""
        if self.flushes is Flushes.NONE:
            return drive(str(self.card), "unsafe")
        line = self.folder / "nbd"
        line.unlink(missing_ok=True)
        # It puts itself into the background once it listens, and ends with QEMU.
        # Its cache is a temporary file.
        server: list[str | Path] = ["nbdkit", "--unix", line, "--filter=exitlast", "--filter=cache"]
        server += ["file", self.card, f"cache={self.flushes.value}"]
        run(cgroups.in_group(group, server), env={"PATH": SYSTEM_PATH, "TMPDIR": str(self.card.parent)})
        return drive(f"nbd+unix:///?socket={line}", "writeback")

    def run(
        self, command: Sequence[str | Path], *, check: bool = True, timeout: float = 300, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root over SSH, with the user's password for sudo."""
        if not self.is_on:
            raise LabError(f"{self.name} is off: no command can run inside it")
        words = shlex.join(map(str, command))
        shell = f"sudo -S -p '' sh -c {shlex.quote(f'exec {words}')}"
        program, *arguments = self._in.ssh(self, [shell], address=ADDRESS)
        # The first value of an option counts.
        ssh = [program, "-o", "ConnectTimeout=120", *arguments]
        text = f"{self.password}\n{stdin}"
        done = self._in.run("control", ssh, check=False, timeout=timeout, stdin=text)
        if done.returncode == 255:
            raise LabError(f"{self.name} does not accept SSH: {done.stderr}")
        if check and done.returncode != 0:
            words_of = [f"{self.name}:", *map(str, command)]
            raise CommandError(done.returncode, words_of, done.stdout, done.stderr)
        return done

    def learn_host_keys(self, timeout: float = BOOT_SECONDS) -> None:
        """Add the host keys of the first boot to known_hosts, as an operator accepts them."""
        found: list[str] = []

        def answers() -> bool:
            scan = ["ssh-keyscan", "-T", "20", ADDRESS]
            lines = self._in.run("control", scan, check=False).stdout.splitlines()
            keys = [line.partition(" ")[2] for line in lines if line.startswith(ADDRESS)]
            found[:] = [f"{self.name} {key}\n" for key in keys]
            return bool(found)

        self.wait_for(answers, timeout, "does not answer over SSH")
        self._in.known_hosts.write_text("".join(found))

    def file_on_card(self, name: str) -> str:
        """Return a text file of the site partition, as a PC with a card reader shows it."""
        done = run(["mtype", "-i", self._site, f"::/{name}"])
        return done.stdout

    def add_kernel_arguments(self, arguments: str) -> None:
        """Add arguments to the kernel's command line. The machine must be off."""
        grub = self.file_on_card(GRUB)
        changed = grub.replace(" console=ttyS0", f" {arguments} console=ttyS0")
        assert changed != grub
        self.put_on_card(GRUB, changed.encode())

    def raw_site_partition(self) -> bytes:
        """Return all bytes of the site partition, those of removed files included."""
        with self.card.open("rb") as file:
            file.seek(disk.ALIGNMENT)
            return file.read(disk.SITE.mib * disk.MIB)

    def put_on_card(self, name: str, content: bytes) -> None:
        """Write a file to the site partition, as a PC with a card reader does. The machine must be off."""
        if self.is_on:
            raise LabError(f"{self.name} is on: its card is not in the PC")
        source = self.folder / "copied"
        source.write_bytes(content)
        run(["mcopy", "-o", "-i", self._site, source, f"::/{name}"])

    def fill_site_partition(self) -> None:
        """Fill the site partition with a file. The machine must be off."""
        for exponent in range(26, 8, -1):
            filler = self.folder / f"filler{exponent}"
            filler.write_bytes(bytes(2**exponent))
            # Those that are too large for what is left are refused.
            run(["mcopy", "-o", "-i", self._site, filler, f"::/{filler.name}"], check=False)
            filler.unlink()

    def _signal(self, number: int) -> None:
        # Its systemd is a process of another kernel, so it can only be signalled from inside.
        self.run(["kill", f"-{number}", "1"])

    def _boot_identity(self) -> tuple[int, str] | None:
        try:
            return 1, self.run(["cat", "/proc/sys/kernel/random/boot_id"], timeout=60).stdout
        except (LabError, subprocess.TimeoutExpired):
            return None

    @property
    def _site(self) -> str:
        return f"{self.card}@@{disk.ALIGNMENT}"
