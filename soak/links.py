"""A link between two network namespaces that loses and delays what crosses it, as far as it is told to.

`tc netem` does it where the kernel has it. Where not, a pair of tap devices does, with this process between
them: frames are lost and delayed one by one, as on the air, and neither end can tell.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tests.integration.networks import OTHER_END, PI, Networks

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_FRAME = 65536
_MOST_WAITING = 1000
"""Frames that may be under way at once, as in a device's queue."""


class Link(Protocol):
    """Both directions of a link."""

    means: str
    """What loses and delays."""

    def trouble(self, loss: float = 0, delay: float = 0, jitter: float = 0) -> None:
        """Lose a share of the frames, and delay the others by some seconds, give or take the jitter."""


@contextmanager
def link(places: Networks, host: str, ends: tuple[str, str, str], seed: int) -> Iterator[Link]:
    """Join a host to the Pi's interface.

    host: a namespace that has no link yet. ends: the Pi's interface, its address and the host's, each with
    its network's length.
    """
    interface, own, other = ends
    with contextlib.ExitStack() as stack:
        made: Link
        if _has_netem(places):
            places.ip(
                PI, "link", "add", interface, "type", "veth", "peer", OTHER_END, "netns", places.name(host)
            )
            made = NetemLink(places, ((PI, interface), (host, OTHER_END)))
        else:
            made = stack.enter_context(TapLink(places, ((PI, interface), (host, OTHER_END)), seed))
        places.bring_up(PI, interface, own)
        places.bring_up(host, OTHER_END, other)
        yield made


def _has_netem(places: Networks) -> bool:
    tried = places.run(PI, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    if tried.returncode == 0:
        places.run(PI, "tc", "qdisc", "del", "dev", "lo", "root")
    return tried.returncode == 0


class NetemLink:
    """A veth pair, each end with `tc netem`."""

    means = "tc netem"

    def __init__(self, places: Networks, ends: tuple[tuple[str, str], ...]) -> None:
        self._places = places
        self._ends = ends

    def trouble(self, loss: float = 0, delay: float = 0, jitter: float = 0) -> None:
        """Lose a share of the frames, and delay the others by some seconds, give or take the jitter."""
        settings = ("loss", f"{loss:.2%}", "delay", f"{delay * 1000:g}ms", f"{jitter * 1000:g}ms")
        for name, device in self._ends:
            command = [
                "tc",
                "-n",
                self._places.name(name),
                "qdisc",
                "replace",
                "dev",
                device,
                "root",
                "netem",
            ]
            subprocess.run([*command, *settings], check=True)


class TapLink:
    """Two tap devices, and a thread that carries frames from one to the other."""

    means = "a pair of tap devices (no netem in this kernel)"

    def __init__(self, places: Networks, ends: tuple[tuple[str, str], ...], seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - the weather, not a secret
        self._settings = (0.0, 0.0, 0.0)
        self._descriptors = [_tap(places, name, device) for name, device in ends]
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> TapLink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._woken)
        self._thread.join()
        for descriptor in (*self._descriptors, self._wake):
            os.close(descriptor)

    def trouble(self, loss: float = 0, delay: float = 0, jitter: float = 0) -> None:
        """Lose a share of the frames, and delay the others by some seconds, give or take the jitter."""
        self._settings = loss, delay, jitter

    def _carry(self) -> None:
        first, second = self._descriptors
        across = {first: second, second: first}
        waiting: list[tuple[float, int, int, bytes]] = []
        number = 0
        while True:
            wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            ready, _, _ = select.select([*self._descriptors, self._wake], [], [], wait)
            if self._wake in ready:
                return
            for descriptor in ready:
                frame = os.read(descriptor, _FRAME)
                loss, delay, jitter = self._settings
                if self._dice.random() < loss or len(waiting) >= _MOST_WAITING:
                    continue
                due = time.monotonic() + max(0.0, delay + self._dice.uniform(-jitter, jitter))
                number += 1
                heapq.heappush(waiting, (due, number, across[descriptor], frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, descriptor, frame = heapq.heappop(waiting)
                # A device that is switched off takes nothing: the frame is lost, as on a real link.
                with contextlib.suppress(OSError):
                    os.write(descriptor, frame)


def _tap(places: Networks, name: str, device: str) -> int:
    """Return the descriptor of a new tap device in a namespace; the device is gone once it is closed."""
    with places.inside(name):
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TAP | _IFF_NO_PI))
    return descriptor
