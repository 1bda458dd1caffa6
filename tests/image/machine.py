"""A virtual machine that boots an image."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Without acceleration, on a busy machine.
BOOT_SECONDS = 600


@dataclass(frozen=True)
class Board:
    """What QEMU emulates: its command, the type of drive that holds the disk, and the device that is eth0.

    serial: the number of the serial port that is the console.
    """

    command: tuple[str, ...]
    drive: str = "virtio"
    network: str = "virtio-net-pci"
    serial: int = 0


# One processor, as in tests/wifi: two emulated ones can make the kernel panic.
PC = Board(
    (
        *("qemu-system-x86_64", "-M", "q35,sata=off,smbus=off,i8042=off", "-accel", "tcg"),
        *("-cpu", "Nehalem", "-smp", "1", "-m", "1G", "-device", "virtio-rng-pci"),
    )
)


class MachineError(Exception):
    """The machine does not do what is expected. The text has the end of its console."""


@dataclass(frozen=True)
class Machine:
    """A running machine. Both ports are on this machine's loopback.

    port: it leads to the concentrator's port 502. ssh_port: to sshd. key: of the user pi, if it has one.
    """

    process: subprocess.Popen[bytes]
    console: Path
    port: int
    ssh_port: int
    key: Path | None = None

    def wait_for_line(self, text: str, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the console has shown this text."""
        self._wait(lambda: text in self.shown, timeout, f"does not show {text!r}")

    def request(self, pdu: bytes, timeout: float = BOOT_SECONDS) -> bytes:
        """Send a request to unit identifier 1 until it is answered, and return the reply's PDU."""
        replies: list[bytes] = []

        def is_answered() -> bool:
            with suppress(OSError):
                replies.append(_exchange(self.port, pdu))
            return bool(replies)

        self._wait(is_answered, timeout, "does not answer on port 502")
        return replies[0]

    def run(self, command: str, timeout: float = BOOT_SECONDS) -> str:
        """Run a command over SSH as soon as that is possible, and return its output."""
        assert self.key is not None
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60")
        words = ["ssh", "-q", "-F", "none", "-i", str(self.key), "-p", str(self.ssh_port)]
        words += [word for option in options for word in ("-o", option)]
        done: list[subprocess.CompletedProcess[str]] = []

        def is_done() -> bool:
            done.append(
                subprocess.run(
                    [*words, "pi@127.0.0.1", command],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            )
            # 255 is ssh's own.
            return done[-1].returncode != 255

        self._wait(is_done, timeout, "does not accept SSH")
        if done[-1].returncode:
            raise MachineError(f"{command}: {done[-1].stdout}{done[-1].stderr}")
        return done[-1].stdout

    @property
    def shown(self) -> str:
        """What the console has shown so far."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def _wait(self, condition: Callable[[], bool], timeout: float, problem: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise MachineError(f"the machine {problem}:\n{self.shown[-2000:]}")
            time.sleep(1)


def drive(file: str, cache: str, *, keep: bool = True, interface: str = PC.drive) -> list[str]:
    """Return QEMU's options for a disk image. keep: whether it gets what the machine writes."""
    snapshot = "off" if keep else "on"
    return ["-drive", f"file={file},format=raw,if={interface},snapshot={snapshot},cache={cache}"]


def qemu(board: Board, disk: Sequence[str], console: Path, uefi: Path | None = None) -> list[str]:
    """Return QEMU's command for a machine with this disk, without its network.

    disk: what `drive` returns. console: the file that the console's text is added to. uefi: the firmware.
    """
    return [
        *(*board.command, "-nodefaults", "-display", "none"),
        *(("-serial", "null") * board.serial),
        *("-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console"),
        *(("-bios", str(uefi)) if uefi else ()),
        *disk,
    ]


@contextmanager
def booted(
    disk: Path,
    folder: Path,
    uefi: Path | None = None,
    *,
    keep: bool = False,
    key: Path | None = None,
    board: Board = PC,
) -> Iterator[Machine]:
    """Boot a disk image, and switch the machine off at the end, as a power cut does.

    uefi: the firmware; without it, a PC has a BIOS. keep: whether the image gets what the machine writes;
    otherwise it stays as it is. key: of the user pi.
    """
    console = folder / "console"
    port, ssh_port = _free_ports()
    forwards = ((port, 502), (ssh_port, 22))
    forwarded = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-192.168.2.100:{there}" for here, there in forwards)
    network = f"net=192.168.2.0/24,host=192.168.2.10,{forwarded}"
    command = qemu(board, drive(str(disk), "unsafe", keep=keep, interface=board.drive), console, uefi)
    command += ["-netdev", f"user,id=control,restrict=on,{network}"]
    command += ["-device", f"{board.network},netdev=control"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield Machine(process, console, port, ssh_port, key)
    finally:
        process.kill()
        process.wait()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for free in (first, second):
            free.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _exchange(port: int, pdu: bytes) -> bytes:
    """Send a request in an MBAP frame, and return the reply's PDU. Raises OSError if there is none."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(bytes.fromhex("00010000") + (len(pdu) + 1).to_bytes(2, "big") + b"\x01" + pdu)
        reply = client.recv(300)
    # QEMU accepts connections before the concentrator does, and closes them.
    if len(reply) < 8:
        raise ConnectionError("the connection was closed without a reply")
    return reply[7:]
