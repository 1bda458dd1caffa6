"""A Pi with simulated radios: a virtual machine with its own kernel, in the labs of tests/virtual_pi.

The Pis of tests/virtual_pi are containers whose wlan0 is a cable. Here a stock Debian kernel runs in QEMU.
Its module mac80211_hwsim simulates three radios: the Pi's wlan0, the access point's, and the ESP32's. The
latter two are in network namespaces inside the machine ("ap", "esp32"), so that all their traffic goes over
the air.

    with Lab("wifi") as lab:
        pi = boot(lab, "pi-radio")           # eth0 and uplink0 are connected to the lab's networks
        wifi = Wifi("field-net", passphrase)
        AccessPoint(pi).offer(wifi)
        Esp32(pi).join(wifi)
        Controller(lab, {...}).add(pi)       # the real playbooks, over the control network

In addition to what virtual Pis need, this requires qemu-system-x86, e2fsprogs and /dev/net/tun. KVM is not
used. The tests are in test_wifi.py.
"""

from tests.wifi.air import AccessPoint, Esp32, Station, Wifi
from tests.wifi.machine import RadioPi, boot

__all__ = ["AccessPoint", "Esp32", "RadioPi", "Station", "Wifi", "boot"]
