"""ARP probes for the Pi's own address: their form, and whose answers count."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smart_meter.doctor import neighbours

OWN = bytes.fromhex("020000000001")
OTHER = bytes.fromhex("020000000007")
ADDRESS = "192.168.1.100"


def reply(mac: bytes, address: str = ADDRESS) -> bytes:
    return neighbours.probe(mac, ADDRESS)[:14] + socket.inet_aton(address) + OWN + bytes(4)


def test_a_probe_has_no_senders_address() -> None:
    packet = neighbours.probe(OWN, ADDRESS)

    assert packet.hex() == "000108000604000102000000000100000000000000000000c0a80164"
    assert neighbours.sender(packet) == ("0.0.0.0", OWN)  # noqa: S104 - no address that is bound


@pytest.mark.parametrize("packet", [b"", b"x" * 27, b"\x00\x06" + reply(OTHER)[2:]])
def test_what_is_not_arp_for_ipv4_has_no_sender(packet: bytes) -> None:
    assert neighbours.sender(packet) is None


class Network:
    """Replaces AF_PACKET sockets by pairs of ordinary ones."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.sent: list[tuple[bytes, Any]] = []
        # Before socket.socket is replaced.
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def socket(self, family: int, *_: int) -> Any:
        assert family == socket.AF_PACKET
        network = self

        class Opened:
            def __enter__(self) -> Opened:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def fileno(self) -> int:
                return network.ours.fileno()

            def bind(self, to: tuple[str, int]) -> None:
                assert to == ("wlan0", 0x0806)

            def sendto(self, packet: bytes, to: Any) -> None:
                network.sent.append((packet, to))
                for answer in network.answers:
                    network.theirs.send(answer)

            def recv(self, size: int) -> bytes:
                return network.ours.recv(size)

        return Opened()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network()
    monkeypatch.setattr(socket, "socket", network.socket)
    monkeypatch.setattr(neighbours, "own_macs", lambda: {"wlan0": OWN, "eth0": b"\x02" * 6, "tun0": b""})
    with network.ours, network.theirs:
        yield network


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], {ADDRESS: ""}),
        ([reply(OTHER)], {ADDRESS: "02:00:00:00:00:07"}),
        # Ours on the other network, our own probe, another address, and not ARP.
        (
            [reply(b"\x02" * 6), neighbours.probe(OWN, ADDRESS), reply(OTHER, "192.168.1.7"), b"x"],
            {ADDRESS: ""},
        ),
    ],
)
def test_only_another_host_with_the_address_counts(
    network: Network, answers: list[bytes], expected: dict[str, str]
) -> None:
    network.answers = answers

    assert neighbours.others([("wlan0", ADDRESS)], 0.08) == expected
    assert [packet for packet, _ in network.sent] == [neighbours.probe(OWN, ADDRESS)] * 3
    assert {to for _, to in network.sent} == {("wlan0", 0x0806, 0, 0, b"\xff" * 6)}


def test_on_an_interface_that_is_missing_or_has_no_mac_address_nobody_is_asked(network: Network) -> None:
    assert neighbours.others([("wlan7", ADDRESS), ("tun0", ADDRESS)], 0.08) == {}
    assert network.sent == []


def test_without_root_it_may_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(neighbours, "own_macs", lambda: {"wlan0": OWN})
    monkeypatch.setattr(socket, "socket", refuse)

    with pytest.raises(PermissionError):
        neighbours.others([("wlan0", ADDRESS)], 0.08)


def test_the_playbooks_can_run_the_file() -> None:
    source = Path(neighbours.__file__).read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-", "no-such-interface", ADDRESS],
        input=source,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert json.loads(done.stdout) == {}
