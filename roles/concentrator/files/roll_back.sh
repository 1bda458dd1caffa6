#!/bin/sh
# Restore the previous configuration, unless the Pi has done so already. The change has to be that of the run CONTROLLER.
# Standard input: the configuration that was applied, in base64. Exit status 3: it was confirmed, but the reply was lost.
set -eu

guard=/var/lib/smart-meter-guard/configuration
if [ -e "$guard/owner" ] && [ "$(cat "$guard/owner")" != "$CONTROLLER" ]; then
    echo "not rolled back: the pending change is of $(cat "$guard/owner")"
    exit 0
fi
if [ ! -e "$guard/paths" ] && base64 -d | cmp --quiet - /etc/smart-meter/config.toml; then
    echo "it was confirmed"
    exit 3
fi
guard_roll_back configuration
