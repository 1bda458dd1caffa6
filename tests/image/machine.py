"""A virtual machine that boots an image."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# Without acceleration, on a busy machine.
BOOT_SECONDS = 600


class MachineError(Exception):
    """The machine does not do what is expected. The text has the end of its console."""


@dataclass(frozen=True)
class Machine:
    """A running machine. port: on this machine's loopback, it leads to the concentrator's port 502."""

    process: subprocess.Popen[bytes]
    console: Path
    port: int

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


@contextmanager
def booted(disk: Path, folder: Path, uefi: Path | None = None) -> Iterator[Machine]:
    """Boot a disk image, and switch the machine off at the end. The image stays as it is.

    uefi: the firmware; without it, the machine has a BIOS.
    """
    console = folder / "console"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    network = f"net=192.168.2.0/24,host=192.168.2.10,hostfwd=tcp:127.0.0.1:{port}-192.168.2.100:502"
    command = [
        *("qemu-system-x86_64", "-M", "q35,sata=off,smbus=off,i8042=off", "-accel", "tcg"),
        # One processor, as in tests/wifi: two emulated ones can make the kernel panic.
        *("-cpu", "Nehalem", "-smp", "1", "-m", "1G", "-nodefaults", "-display", "none"),
        *("-serial", f"file:{console}"),
        *(("-bios", str(uefi)) if uefi else ()),
        *("-drive", f"file={disk},format=raw,if=virtio,snapshot=on,cache=unsafe"),
        *("-nic", f"user,model=virtio-net-pci,restrict=on,{network}"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield Machine(process, console, port)
    finally:
        process.kill()
        process.wait()


def _exchange(port: int, pdu: bytes) -> bytes:
    """Send a request in an MBAP frame, and return the reply's PDU. Raises OSError if there is none."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(bytes.fromhex("00010000") + (len(pdu) + 1).to_bytes(2, "big") + b"\x01" + pdu)
        reply = client.recv(300)
    # QEMU accepts connections before the concentrator does, and closes them.
    if len(reply) < 8:
        raise ConnectionError("the connection was closed without a reply")
    return reply[7:]
