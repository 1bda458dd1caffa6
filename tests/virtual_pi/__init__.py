"""Fresh Raspberry Pis, as far as a Debian machine can make them.

    with Lab("test") as lab:
        pi = lab.boot("pi-north")
        pi.run(["nmcli", "device"])                       # behind the scenes, as root
        lab.run("control", ["ping", "-c1", pi.bootstrap_address])

Each Pi is a Debian trixie in a container of its own, with systemd, NetworkManager and sshd, as Raspberry Pi
OS Lite leaves it after flashing. Its `wlan0`, `eth0` and `uplink0` lead to networks that live in network
namespaces of the lab. From the command line: `python -m tests.virtual_pi --help`.
"""

from tests.virtual_pi.commands import CommandError, LabError
from tests.virtual_pi.lab import Lab
from tests.virtual_pi.pi import Link, Pi

__all__ = ["CommandError", "Lab", "LabError", "Link", "Pi"]
