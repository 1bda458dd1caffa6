"""Unusual states of Pis and their networks in which provisioning must work all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.virtual_pi import Lab, Pi, networks, places
from tests.virtual_pi.commands import run

# Rules as added by hand or an installer, in all forms that `ufw show added` prints. One run removes them all.
STRANGE_RULES = """
ufw route allow in on wlan0 out on eth0
ufw route deny in on wlan0 out on eth0 from 192.168.1.0/24 to 192.168.2.0/24 port 80 proto tcp
ufw route limit log 53/udp comment 'Names, for all'
ufw route allow in on eth0 log-all to 10.0.0.0/8 comment 'a "route comment" here'
ufw route allow in on eth0 to any app 'Two Words'
ufw route allow from 192.168.2.0/24 to any port 22 proto tcp
ufw allow 8081
ufw allow 8082:8090/tcp
ufw deny out on eth0 log-all to 10.12.0.1 port 99 proto udp
ufw reject out 25/tcp
ufw limit log 2201/tcp comment 'has a comment in it'
ufw allow in on eth0
ufw deny out on wlan0
ufw allow from 10.2.0.6 port 1024 to any port 22 proto tcp
ufw allow from fe80::/10 to any port 22 proto tcp
ufw deny in on eth0 from 2001:db8::/32
ufw allow 'Two Words'
ufw deny from 10.4.0.0/16 to any app 'Two Words' comment 'by its profile'
ufw allow from 10.6.0.1 proto esp
ufw allow to any proto gre
ufw allow to 224.0.0.251 port 5353 proto udp
""".strip().splitlines()
_PROFILE = "[Two Words]\ntitle=Two Words\ndescription=For a test\nports=7000,7001/tcp\n"


def set_unresolvable_host_name(pi: Pi) -> None:
    """Set a host name without adding it to /etc/hosts. sudo then prints a warning at each call."""
    pi.run(["hostnamectl", "set-hostname", "lab-pi"])


def enable_banner_and_lecture(pi: Pi) -> None:
    """Make sshd print a banner at each login, and sudo a lecture at each call."""
    script = """
        echo 'Defaults lecture=always' > /etc/sudoers.d/lecture
        echo 'state=inactive' > /etc/issue.net
        echo 'Banner /etc/issue.net' > /etc/ssh/sshd_config.d/20-banner.conf
        systemctl reload ssh
    """
    pi.run(["sh", "-ec", script])


@contextmanager
def printing_login_shell(pi: Pi) -> Iterator[None]:
    """Make the login shell print text each time, like a careless ~/.bashrc."""
    chatter = "echo hello; echo config=bm90aGluZw==; echo '[]'; echo state=inactive >\\&2"
    pi.run(["sed", "-i.quiet", f"1i {chatter}", "/home/pi/.bashrc"])
    yield
    pi.run(["mv", "/home/pi/.bashrc.quiet", "/home/pi/.bashrc"])


def add_strange_rules(pi: Pi) -> None:
    """Add firewall rules of all forms."""
    pi.run(["tee", "/etc/ufw/applications.d/two-words"], stdin=_PROFILE)
    pi.run(["sh", "-ec", "\n".join(STRANGE_RULES)], timeout=120)
    added = pi.run(["ufw", "show", "added"]).stdout.splitlines()
    assert set(STRANGE_RULES) <= set(added), set(STRANGE_RULES) - set(added)


@contextmanager
def silent_name_server(lab: Lab) -> Iterator[None]:
    """Make the name server that DHCP announces to the Pis silent."""
    router = places.namespace(lab.name, places.ROUTER)
    rules = """table ip silent {
        chain input {
            type filter hook input priority filter
            udp dport 53 drop
        }
    }"""
    run(networks.in_namespace(router, ["nft", "-f", "-"]), stdin=rules)
    try:
        yield
    finally:
        run(networks.in_namespace(router, ["nft", "delete", "table", "ip", "silent"]))


@contextmanager
def process_in_background(pi: Pi, program: str) -> Iterator[int]:
    """Run a program of Python on the Pi during the block; yield its process ID."""
    pi.run(["systemd-run", "--quiet", "--collect", "--unit=odd", "python3", "-c", program])
    try:
        yield int(pi.run(["systemctl", "show", "-P", "MainPID", "odd"]).stdout)
    finally:
        pi.run(["systemctl", "stop", "odd"], check=False)


@contextmanager
def port_taken(pi: Pi, port: int) -> Iterator[int]:
    """Let another program listen on the concentrator's port; yield its process ID."""
    pi.run(["systemctl", "stop", "smart-meter"])
    program = f"import socket, time; each = socket.create_server(('', {port})); time.sleep(600)"
    try:
        with process_in_background(pi, program) as number:
            pi.run(["sh", "-c", f"until ss -Hltn 'sport = :{port}' | grep -q .; do sleep 0.1; done"])
            yield number
    finally:
        pi.run(["systemctl", "start", "smart-meter"])


@contextmanager
def dpkg_locked(pi: Pi, *, seconds: int) -> Iterator[int]:
    """Let another program hold dpkg's lock for some time; yield its process ID."""
    opened = "file = open('/var/lib/dpkg/lock-frontend', 'w')"
    program = f"import fcntl, time; {opened}; fcntl.lockf(file, fcntl.LOCK_EX); time.sleep({seconds})"
    with process_in_background(pi, program) as number:
        yield number


def unfinished_package(pi: Pi, name: str) -> None:
    """Leave a package as an interrupted dpkg leaves it: unpacked, and not configured."""
    script = f"""cd /run
        apt-get -qq update
        apt-get -qq download {name}
        dpkg --unpack {name}_*.deb
        rm {name}_*.deb"""
    pi.run(["sh", "-ec", script], timeout=120)


@contextmanager
def no_way_to_packages(pi: Pi) -> Iterator[None]:
    """Refuse every connection from the Pi to a web server. A fresh Pi has no firewall that could do it."""
    rules = [f"priority 5 ipproto tcp dport {port} unreachable" for port in (80, 443)]
    pi.run(["sh", "-ec", "\n".join(f"ip rule add {rule}" for rule in rules)])
    try:
        yield
    finally:
        pi.run(["sh", "-ec", "\n".join(f"ip rule del {rule}" for rule in rules)])


@contextmanager
def no_ipv6(pi: Pi) -> Iterator[None]:
    """Imitate a kernel without IPv6: it has no settings for it. ip6tables still works."""
    pi.run(["mount", "-t", "tmpfs", "none", "/proc/sys/net/ipv6"])
    try:
        yield
    finally:
        pi.run(["umount", "/proc/sys/net/ipv6"])
