"""A lab's networks, each in a network namespace of its own.

field     192.168.1.0/24   wlan0: the access point (.1) and the ESP32 (.50); no DHCP
control   192.168.2.0/24   eth0: the controller (.1) and the Opta (.10); DHCP from .150 to .199
router    192.168.77.0/24  uplink0: DHCP, DNS, and the package archive (see uplink.py)
stranger  192.168.77.50    a host on the router's network that belongs to neither zone
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import Path

from tests.virtual_pi import capabilities, cgroups, places
from tests.virtual_pi.commands import LabError, run
from tests.virtual_pi.places import CONTROL, FIELD, ROUTER, STRANGER

# The network that each interface of a Pi is connected to.
INTERFACES = {"wlan0": FIELD, "eth0": CONTROL, "uplink0": ROUTER}
_BRIDGE = "br0"

# The first one is the default source address.
ADDRESSES = {
    FIELD: ("192.168.1.50", "192.168.1.1"),
    CONTROL: ("192.168.2.1", "192.168.2.10"),
    ROUTER: ("192.168.77.1",),
    STRANGER: ("192.168.77.50",),
}

# A new namespace inherits these from the machine, which forwards packets for the labs and may be hardened.
# A real Pi boots with the kernel's defaults, which the distribution's sysctl.d then changes.
_KERNEL_DEFAULTS = (
    "forwarding=0",
    "accept_redirects=1",
    "arp_announce=0",
    "arp_filter=0",
    "arp_ignore=0",
    "log_martians=0",
    "proxy_arp=0",
    "rp_filter=0",
    "secure_redirects=1",
    "send_redirects=1",
)


def in_namespace(name: str, command: Sequence[str | Path]) -> list[str]:
    """Return `command` wrapped so that it runs in a network namespace."""
    return capabilities.confined(["ip", "netns", "exec", name, *map(str, command)])


def create(lab: str) -> None:
    """Create the namespaces, their bridges, and the control network's DHCP server."""
    for what in places.NAMESPACES:
        _create_namespace(places.namespace(lab, what))
    for what in (FIELD, CONTROL, ROUTER):
        name = places.namespace(lab, what)
        _ip(name, "link", "add", _BRIDGE, "type", "bridge", "mcast_snooping", "0")
        _bring_up(name, _BRIDGE, ADDRESSES[what])
    router, stranger = places.namespace(lab, ROUTER), places.namespace(lab, STRANGER)
    _ip(router, "link", "add", "stranger", "type", "veth", "peer", "name", "eth0", "netns", stranger)
    _ip(router, "link", "set", "stranger", "master", _BRIDGE, "up")
    _bring_up(stranger, "eth0", ADDRESSES[STRANGER])
    # The control network has no uplink: neither a router nor a name server is announced (options 3 and 6).
    start_dnsmasq(lab, CONTROL, ["--port=0", "--dhcp-option=3", "--dhcp-option=6"])


def start_dnsmasq(lab: str, what: str, options: Sequence[str]) -> None:
    """Start a DHCP server on a network's bridge, and a DNS server unless the options contain `--port=0`."""
    network = ADDRESSES[what][0].rpartition(".")[0]
    command = [
        "dnsmasq",
        "--conf-file=/dev/null",
        "--user=root",
        f"--pid-file={places.state_folder(lab) / what}.dnsmasq.pid",
        f"--log-facility={places.state_folder(lab) / what}.dnsmasq.log",
        f"--interface={_BRIDGE}",
        "--bind-interfaces",
        "--except-interface=lo",
        f"--dhcp-range={network}.150,{network}.199,255.255.255.0,12h",
        "--dhcp-authoritative",
        "--no-ping",
        f"--dhcp-leasefile={places.state_folder(lab) / what}.leases",
        *options,
    ]
    group = cgroups.create(cgroups.of_lab(lab) / cgroups.PROGRAMS)
    run(cgroups.in_group(group, in_namespace(places.namespace(lab, what), command)))


def lease(lab: str, what: str, mac_address: str) -> str | None:
    """Return the address that the network's DHCP server last leased to an interface, or None."""
    file = places.state_folder(lab) / f"{what}.leases"
    for line in file.read_text().splitlines() if file.exists() else ():
        _, mac, address, *_ = line.split()
        if mac == mac_address:
            return address
    return None


def create_interfaces(lab: str, pi: str, number: int) -> None:
    """Give a Pi new interfaces, as after power-up: without addresses, routes, firewall rules or settings.

    number: makes the names of the far ends unique in the lab's networks.
    """
    remove_interfaces(lab, pi)
    own = places.namespace(lab, pi)
    _create_namespace(own)
    for interface, what in INTERFACES.items():
        far = far_end(number)
        mac = places.mac_address(lab, pi, interface)
        network = places.namespace(lab, what)
        # Both ends are created directly in their namespaces, so the machine's own never has this veth.
        near = ["type", "veth", "peer", "name", interface, "address", mac, "netns", own]
        _ip(network, "link", "add", far, *near)
        _ip(network, "link", "set", far, "master", _BRIDGE)
        if not unplugged_mark(lab, pi, interface).exists():
            _ip(network, "link", "set", far, "up")


def connect_tap(lab: str, pi: str, number: int, interface: str, what: str) -> None:
    """Connect an interface of a virtual machine to a network, through a bridge in the machine's namespace.

    The tap device has the name of the interface, with the prefix `tap-`.
    """
    own = places.namespace(lab, pi)
    network = places.namespace(lab, what)
    far = far_end(number)
    for words in (
        ["link", "add", f"br-{interface}", "type", "bridge", "mcast_snooping", "0"],
        ["link", "set", f"br-{interface}", "up"],
        ["tuntap", "add", f"tap-{interface}", "mode", "tap"],
        ["link", "set", f"tap-{interface}", "master", f"br-{interface}", "up"],
        ["link", "add", f"to-{interface}", "type", "veth", "peer", "name", far, "netns", network],
        ["link", "set", f"to-{interface}", "master", f"br-{interface}", "up"],
    ):
        _ip(own, *words)
    _ip(network, "link", "set", far, "master", _BRIDGE, "up")


def connect_uplink(lab: str, pi: str, number: int) -> None:
    """Connect a Pi that is off to the package archive: its uplink0 gets an address and the router's route."""
    router = ADDRESSES[ROUTER][0]
    own = places.namespace(lab, pi)
    # Below the addresses that DHCP leases. The stranger has .50.
    _bring_up(own, "uplink0", [f"{router.rpartition('.')[0]}.{99 + number}"])
    _ip(own, "route", "add", "default", "via", router)


def remove_interfaces(lab: str, pi: str) -> None:
    """Remove a Pi's interfaces, with their far ends."""
    remove_namespace(places.namespace(lab, pi))


def far_end(number: int) -> str:
    return f"pi{number}"


def unplugged_mark(lab: str, pi: str, interface: str) -> Path:
    """Return the file that exists while the cable is unplugged, also across reboots."""
    return places.pi_state(lab, pi) / f"{interface}.unplugged"


def set_cable(lab: str, pi: str, number: int, interface: str, *, plugged: bool) -> None:
    """Plug in or unplug the cable: the interface gets or loses its carrier."""
    if interface not in INTERFACES:
        raise LabError(f"a Pi has no interface {interface!r}; it has {', '.join(INTERFACES)}")
    mark = unplugged_mark(lab, pi, interface)
    if plugged:
        mark.unlink(missing_ok=True)
    else:
        mark.touch()
    network = places.namespace(lab, INTERFACES[interface])
    _ip(network, "link", "set", far_end(number), "up" if plugged else "down")


def is_alive(name: str) -> bool:
    """Return whether the namespace exists; after a restart of the machine there may be only an empty file."""
    return os.path.ismount(f"/run/netns/{name}")


def remove_namespace(name: str) -> None:
    """Remove a network namespace. Everything that runs in it must have ended."""
    file = Path("/run/netns", name)
    if not file.exists():
        return
    if is_alive(name):
        # The kernel would remove the interfaces too, but later. Until then the far ends' names stay in use.
        for link in run(["ip", "-netns", name, "-o", "link", "show", "type", "veth"]).stdout.splitlines():
            _ip(name, "link", "delete", link.split(": ")[1].partition("@")[0])
    run(["ip", "netns", "delete", name])


def _create_namespace(name: str) -> None:
    run(["ip", "netns", "add", name])
    settings = [
        f"net.ipv4.conf.{which}.{setting}" for which in ("all", "default") for setting in _KERNEL_DEFAULTS
    ]
    run(in_namespace(name, ["sysctl", "-q", "-w", *settings]))
    _ip(name, "link", "set", "lo", "up")


def _bring_up(namespace: str, link: str, addresses: Sequence[str]) -> None:
    for address in addresses:
        _ip(namespace, "address", "add", f"{address}/24", "brd", "+", "dev", link)
    _ip(namespace, "link", "set", link, "up")


def _ip(namespace: str, *arguments: str) -> None:
    run(["ip", "-netns", namespace, *arguments])
