"""A link between two network namespaces with adjustable loss and delay.

It uses `tc netem` if the kernel has it. Otherwise this process forwards frames between a pair of tap devices,
and loses or delays each frame separately, as a radio link does.
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
_MAX_QUEUED = 1000
"""Frames that may be in transit at once, as in a device's queue."""


class Link(Protocol):
    """Both directions of a link."""

    implementation: str
    """A description for the report."""

    def impair(self, loss: float = 0, delay: float = 0, jitter: float = 0) -> None:
        """Set the share of lost frames, and the delay of the others: seconds, plus or minus the jitter."""


@contextmanager
def link(places: Networks, host: str, ends: tuple[str, str, str], seed: int) -> Iterator[Link]:
    """Connect a host to an interface of the Pi.

    host: a namespace without a link. ends: the Pi's interface, its address, and the host's address, each
    address with a prefix length.
    """
    interface, own, other = ends
    with contextlib.ExitStack() as stack:
        created: Link
        if _has_netem(places):
            places.ip(
                PI, "link", "add", interface, "type", "veth", "peer", OTHER_END, "netns", places.name(host)
            )
            created = NetemLink(places, ((PI, interface), (host, OTHER_END)))
        else:
            created = stack.enter_context(TapLink(places, ((PI, interface), (host, OTHER_END)), seed))
        places.bring_up(PI, interface, own)
        places.bring_up(host, OTHER_END, other)
        yield created


def _has_netem(places: Networks) -> bool:
    attempt = places.run(PI, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    if attempt.returncode == 0:
        places.run(PI, "tc", "qdisc", "del", "dev", "lo", "root")
    return attempt.returncode == 0


class NetemLink:
    """A veth pair with `tc netem` at each end."""

    implementation = "tc netem"

    def __init__(self, places: Networks, ends: tuple[tuple[str, str], ...]) -> None:
        self._places = places
        self._ends = ends

    def impair(self, loss: float = 0, delay: float = 0, jitter: float = 0) -> None:
        """Set loss, delay and jitter, see Link."""
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
    """Two tap devices, and a thread that forwards frames between them."""

    implementation = "a pair of tap devices (no netem in this kernel)"

    def __init__(self, places: Networks, ends: tuple[tuple[str, str], ...], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - frame loss, not a secret
        self._settings = (0.0, 0.0, 0.0)
        self._descriptors = [_tap(places, name, device) for name, device in ends]
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._forward, daemon=True)

    def __enter__(self) -> TapLink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stop_writer)
        self._thread.join()
        for descriptor in (*self._descriptors, self._stop_reader):
            os.close(descriptor)

    def impair(self, loss: float = 0, delay: float = 0, jitter: float = 0) -> None:
        """Set loss, delay and jitter, see Link."""
        self._settings = loss, delay, jitter

    def _forward(self) -> None:
        first, second = self._descriptors
        across = {first: second, second: first}
        queued: list[tuple[float, int, int, bytes]] = []
        number = 0
        while True:
            wait = max(0.0, queued[0][0] - time.monotonic()) if queued else None
            ready, _, _ = select.select([*self._descriptors, self._stop_reader], [], [], wait)
            if self._stop_reader in ready:
                return
            for descriptor in ready:
                frame = os.read(descriptor, _FRAME)
                loss, delay, jitter = self._settings
                if self._random.random() < loss or len(queued) >= _MAX_QUEUED:
                    continue
                due = time.monotonic() + max(0.0, delay + self._random.uniform(-jitter, jitter))
                number += 1
                heapq.heappush(queued, (due, number, across[descriptor], frame))
            while queued and queued[0][0] <= time.monotonic():
                _, _, descriptor, frame = heapq.heappop(queued)
                # A device that is down accepts nothing: the frame is lost, as on a real link.
                with contextlib.suppress(OSError):
                    os.write(descriptor, frame)


def _tap(places: Networks, name: str, device: str) -> int:
    """Return the descriptor of a new tap device in a namespace. Closing it removes the device."""
    with places.inside(name):
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TAP | _IFF_NO_PI))
    return descriptor
