#!/bin/sh
# Runs in the network namespace of a radio other than the Pi's. Switches on this radio only, not the Pi's.
set -eu

for switch in /sys/class/ieee80211/*/rfkill*; do
    rfkill unblock "${switch##*rfkill}"
done
exec "$@"
