#!/bin/sh
# The air around the Pi: two radios, and one of them in a network namespace of its own, for the access point.
set -eu

modprobe mac80211_hwsim radios=2
ip netns add ap
phy=$(basename "$(readlink /sys/class/net/wlan1/phy80211)")
iw phy "$phy" set netns name ap
ip -n ap link set lo up
ip -n ap address add 192.168.1.1/24 brd + dev wlan1
ip -n ap address add 192.168.1.50/24 dev wlan1
