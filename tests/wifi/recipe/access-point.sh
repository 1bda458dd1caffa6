#!/bin/sh
# Runs in the access point's network namespace: switches on its own radio, and leaves the Pi's alone.
set -eu

for switch in /sys/class/ieee80211/*/rfkill*; do
    rfkill unblock "${switch##*rfkill}"
done
exec hostapd /var/lib/air/hostapd.conf
