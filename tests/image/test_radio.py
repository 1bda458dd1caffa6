"""The image joins a Wi-Fi that only its site card names, with simulated radios (make test-image).

hostapd and the ESP32's station come from a second disk, that of `make test-wifi`: the image has neither.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controller import FIELD_ADDRESS
from tests.image.appliance import SITE_CARD
from tests.image.esp32 import frame
from tests.image.flash import IMAGE
from tests.image.machine import drive
from tests.image.site import Site, site
from tests.virtual_pi import places
from tests.wifi import Wifi, root

WIFI = Wifi("the field zone", "a passphrase of the field zone")
JOIN_SECONDS = 300
FIELD = {
    "network_country": "DE",
    "network_field_type": "wifi",
    "network_field_interface": "wlan0",
    "network_field_ssid": WIFI.ssid,
    "network_field_psk": "{{ vault_network_field_psk }}",
}

# The radios other than the Pi's go into network namespaces of their own.
RADIOS = """
set -eu
mkdir -p /run/air && mount -o ro /dev/vdb /run/air
for name in ap:wlan1 esp32:wlan2; do
    namespace=${name%:*}
    phy=$(basename "$(readlink "/sys/class/net/${name#*:}/phy80211")")
    ip netns add "$namespace"
    iw phy "$phy" set netns name "$namespace"
    ip -n "$namespace" link set lo up
done
ip -n ap link add br0 type bridge
ip -n ap address add 192.168.1.1/24 brd + dev br0
ip -n ap link set br0 up
ip -n esp32 address add 192.168.1.50/24 brd + dev wlan2
"""
# The program in the second disk's root, in a namespace, as a unit of its own.
START = (
    "systemd-run --quiet --unit=air-{name} -p RootDirectory=/run/air -p MountAPIVFS=yes -p PrivateTmp=yes "
    "-p BindPaths=/run/air-files:/run -p NetworkNamespacePath=/run/netns/{name} {command}"
)
SEND = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 502), timeout=60)
connection.sendall(bytes.fromhex(sys.argv[2]))
print(connection.recv(260).hex())
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("image_radio", IMAGE, field=FIELD) as here:
        here.controller.secrets["vault_network_field_psk"] = WIFI.passphrase
        here.controller.write()
        with places.locked("build"):
            layers = root.ready(print)
            folder = tmp_path_factory.mktemp("air")
            (folder / "upper").mkdir()
            air = root.flash(
                layers, folder, {"PI_NAME": "air", "PI_PASSWORD": "air", "PI_PUBLIC_KEY": "none"}
            )
        here.pi.others = drive(str(air), "unsafe", keep=False)
        here.pi.add_kernel_arguments("modules_load=mac80211_hwsim mac80211_hwsim.radios=3")
        here.pi.put_on_card(SITE_CARD, here.make_card())
        yield here


def start(here: Site, name: str, command: str, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    here.pi.run(["install", "-D", "-m", "600", "/dev/stdin", f"/run/air-files/{name}.conf"], stdin=text)
    here.pi.run(["sh", "-c", START.format(name=name, command=command)])


def test_it_joins_the_wifi_of_its_site_card(here: Site) -> None:
    # The control zone is served without a Wi-Fi in the air.
    here.boot()
    here.pi.learn_host_keys()
    here.settle()
    here.pi.run(["sh", "-c", RADIOS])
    point = ["driver=nl80211", "hw_mode=g", "channel=6", "interface=wlan1", *WIFI.access_point]
    start(here, "ap", "hostapd /run/ap.conf", point)

    state = ["nmcli", "--terse", "--get-values", "GENERAL.STATE,IP4.ADDRESS", "device", "show", "wlan0"]
    here.pi.wait_for(
        lambda: f"100 (connected)\n{FIELD_ADDRESS}/24" in here.pi.run(state).stdout,
        JOIN_SECONDS,
        "does not join the Wi-Fi",
    )


def test_the_opta_reads_what_the_esp32_sends_over_the_air(here: Site) -> None:
    station = ["ctrl_interface=/run/wpa", "network={", *WIFI.station, "}"]
    start(here, "esp32", "wpa_supplicant -i wlan2 -c /run/esp32.conf", station)
    send = ["ip", "netns", "exec", "esp32", "python3", "-c", SEND, FIELD_ADDRESS, frame(250).hex()]
    replies: list[str] = []

    def is_answered() -> bool:
        done = here.pi.run(send, check=False)
        replies.append(done.stdout)
        return done.returncode == 0

    here.pi.wait_for(is_answered, JOIN_SECONDS, "does not answer over the air")

    assert bytes.fromhex(replies[-1])[7:] == bytes.fromhex("10 0000 0008")
    assert here.read()[0] == "250"
    assert here.play("site.yml") == 0


def test_no_passphrase_is_left_on_the_site_partition(here: Site) -> None:
    assert WIFI.passphrase.encode() not in here.pi.raw_site_partition()
