"""Connects the Pis to the package archive, but to no other private address.

    Pi uplink0 ── router namespace ── veth with public test addresses ── this machine ── its own uplink
                  masquerade, no private destinations                    masquerade

The router masquerades the Pis' addresses, so that the lab's private addresses never appear outside its
namespaces. It rejects packets to private networks that the machine may be connected to.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from tests.virtual_pi import archive, cgroups, networks, places
from tests.virtual_pi.commands import LabError, run

# RFC 2544: for tests of network equipment. Never routed, and not used by companies or container engines.
_POOL = ipaddress.IPv4Network("198.18.0.0/16")
_LINK = "outside"
_PRIVATE = "10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 198.18.0.0/15"
# The value of ip_forward before the first lab, preceded by the identifier of the boot.
_RECORD = places.RUN / ".ip_forward"
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_PROBE = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()"


def create(lab: str) -> None:
    """Connect the lab's router to the outside, and check that it reaches the package archive.

    Raises LabError if it does not.
    """
    router = places.namespace(lab, places.ROUTER)
    link = places.host_link(lab)
    outer, inner = _free_network(lab)
    hops = archive.first_hops()

    run(["ip", "link", "add", link, "type", "veth", "peer", "name", _LINK, "netns", router])
    ipv6 = Path(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6")
    if ipv6.exists():
        ipv6.write_text("1")
    run(["ip", "address", "add", f"{outer}/30", "dev", link])
    run(["ip", "link", "set", link, "up"])
    run(["ip", "-netns", router, "address", "add", f"{inner}/30", "dev", _LINK])
    run(["ip", "-netns", router, "link", "set", _LINK, "up"])
    run(["ip", "-netns", router, "route", "add", "default", "via", outer])
    # Exceptions from the private addresses: a proxy or a mirror on the machine's own network.
    allowed = ", ".join(sorted({address for address, _ in hops}))
    _nft(
        networks.in_namespace(router, ["nft", "-f", "-"]),
        f"""table ip uplink {{
            chain forward {{
                type filter hook forward priority filter;
                tcp flags syn tcp option maxseg size set rt mtu
                oifname "{_LINK}" ip daddr {{ {allowed} }} accept
                oifname "{_LINK}" ip daddr {{ {_PRIVATE} }} reject with icmp type admin-prohibited
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                oifname "{_LINK}" masquerade
            }}
        }}""",
    )
    run(networks.in_namespace(router, ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]))
    _nft(
        ["nft", "-f", "-"],
        f"""table ip {places.nft_table(lab)} {{
            chain forward {{
                type filter hook forward priority filter;
                oifname "{link}" ct state new drop
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                ip saddr {inner} oifname != "{link}" masquerade
            }}
        }}""",
    )
    _allow_forwarding()
    networks.start_dnsmasq(
        lab, places.ROUTER, ["--no-resolv", *(f"--server={s}" for s in _resolvers(lab, outer))]
    )
    for address, port in hops:
        probe = run(
            networks.in_namespace(router, ["/usr/bin/python3", "-c", _PROBE, address, str(port)]), check=False
        )
        if probe.returncode == 0:
            return
    raise LabError(
        f"the lab's uplink does not reach the package archive ({', '.join(f'{a}:{p}' for a, p in hops)}). "
        "If this machine's firewall drops forwarded packets (Docker and ufw do), accept those of the labs: "
        "iptables -I FORWARD -i 'smv-+' -j ACCEPT; iptables -I FORWARD -o 'smv-+' -j ACCEPT"
    )


def remove(lab: str) -> None:
    """Remove what `create` added to the machine itself. Does nothing if there is nothing to remove."""
    if any(
        row.get("ifname") == places.host_link(lab) for row in json.loads(run(["ip", "-json", "link"]).stdout)
    ):
        run(["ip", "link", "delete", places.host_link(lab)])
    if f"table ip {places.nft_table(lab)}\n" in run(["nft", "list", "tables"]).stdout:
        run(["nft", "delete", "table", "ip", places.nft_table(lab)])


def _nft(command: Sequence[str], ruleset: str) -> None:
    run(command, stdin=ruleset)


def _free_network(lab: str) -> tuple[str, str]:
    """Return the two addresses of a /30 network for which this machine has neither an address nor a route."""
    rows = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout)
    taken = [ipaddress.IPv4Network(row["dst"]) for row in rows if row["dst"] != "default"]
    candidates = list(_POOL.subnets(new_prefix=30))
    first = places.uplink_number(lab)
    for candidate in candidates[first:] + candidates[:first]:
        if not any(candidate.overlaps(network) for network in taken):
            outer, inner = candidate.hosts()
            return str(outer), str(inner)
    raise LabError(f"this machine has routes to all of {_POOL}: no network is left for the lab's uplink")


def _resolvers(lab: str, outer: str) -> list[str]:
    """Return name servers that the router can reach.

    These are the machine's own. If they listen only on its loopback, a relay is started for them.
    """
    for file in (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")):
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        servers = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
        reachable = [server for server in servers if ":" not in server and not server.startswith("127.")]
        if reachable:
            return reachable
    group = cgroups.create(cgroups.of_lab(lab) / cgroups.PROGRAMS)
    relay = [
        "dnsmasq",
        "--conf-file=/dev/null",
        "--user=root",
        f"--listen-address={outer}",
        "--bind-interfaces",
    ]
    relay += [f"--pid-file={places.state_folder(lab) / 'relay.dnsmasq.pid'}"]
    run(cgroups.in_group(group, relay))
    return [outer]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _allow_forwarding() -> None:
    with places.locked():
        # A record of an earlier boot does not apply to this one.
        if not _RECORD.exists() or _RECORD.read_text().split()[0] != _boot_id():
            _RECORD.write_text(f"{_boot_id()} {_IP_FORWARD.read_text()}")
        if _IP_FORWARD.read_text().strip() != "1":
            _IP_FORWARD.write_text("1")


def restore_forwarding() -> None:
    """Restore ip_forward from before the first lab. Call it within `places.locked()`, after the last lab."""
    if _RECORD.exists():
        boot, value = _RECORD.read_text().split()
        if boot == _boot_id() and _IP_FORWARD.read_text().strip() != value:
            _IP_FORWARD.write_text(value)
        _RECORD.unlink()
