#!/bin/sh
# Confirm the configuration, which is proven: the Pi no longer rolls it back. The change has to be that of the run CONTROLLER.
set -eu

owner=/var/lib/smart-meter-guard/configuration/owner
if [ -e "$owner" ] && [ "$(cat "$owner")" != "$CONTROLLER" ]; then
    echo "the pending change is not of this run, but of $(cat "$owner")"
    exit 1
fi
smart-meter-guard confirm configuration
