"""A Pi with real radios: a virtual machine with a kernel of its own, in the labs of tests/virtual_pi.

The Pis of tests/virtual_pi are containers, and their wlan0 is a cable. Here a stock Debian kernel runs in
QEMU, and its mac80211_hwsim makes three radios: one is the Pi's wlan0, the others are the access point's and
the ESP32's, each in a network namespace of its own inside the machine ("ap", "esp32"), so that what they say
to each other crosses the air.

    with Lab("wifi") as lab:
        pi = boot(lab, "pi-radio")           # eth0 and uplink0 lead to the lab's networks, as ever
        wifi = Wifi("field-net", passphrase)
        AccessPoint(pi).offer(wifi)
        Esp32(pi).join(wifi)
        Controller(lab, {...}).add(pi)       # the real playbooks, over the control network

Needs root, and on top of what virtual Pis need: qemu-system-x86 (no acceleration: it runs where KVM does
not), e2fsprogs, and /dev/net/tun. The tests are in test_wifi.py.
"""

from tests.wifi.air import AccessPoint, Esp32, Station, Wifi
from tests.wifi.machine import RadioPi, boot

__all__ = ["AccessPoint", "Esp32", "RadioPi", "Station", "Wifi", "boot"]
