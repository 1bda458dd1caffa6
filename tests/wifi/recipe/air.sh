#!/bin/sh
# Creates three simulated radios: the Pi's wlan0, and two in separate network namespaces. These are the access point's,
# whose Wi-Fis are ports of one bridge, and the ESP32's, which is a station like the Pi.
set -eu

modprobe mac80211_hwsim radios=3
# A Pi's driver, brcmfmac, saves power by default.
iw dev wlan0 set power_save on
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
