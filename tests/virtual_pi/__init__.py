"""Virtual Raspberry Pis, freshly flashed, as closely as a Debian machine can imitate them.

    with Lab("test") as lab:
        pi = lab.boot("pi-north")
        pi.run(["nmcli", "device"])                       # directly inside the Pi, as root
        lab.run("control", ["ping", "-c1", pi.bootstrap_address])

Each Pi is a container with Debian trixie, systemd, NetworkManager and sshd, configured like Raspberry Pi OS
Lite after flashing; with `kind=IMAGER`, like the trixie images that Raspberry Pi Imager configures through
cloud-init and netplan; with `kind=BOOKWORM`, with Debian 12. Its `wlan0`, `eth0` and `uplink0` are connected
to the lab's networks, which are network namespaces. For the command line see
`python -m tests.virtual_pi --help`.
"""

from tests.virtual_pi.commands import CommandError, LabError
from tests.virtual_pi.kinds import BOOKWORM, IMAGER, PLAIN, Kind
from tests.virtual_pi.lab import Lab
from tests.virtual_pi.pi import Link, Pi

__all__ = ["BOOKWORM", "IMAGER", "PLAIN", "CommandError", "Kind", "Lab", "LabError", "Link", "Pi"]
