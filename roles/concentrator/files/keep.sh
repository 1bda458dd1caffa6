#!/bin/sh
# The configuration is proven: the Pi does not go back any more. CONTROLLER says whose change it has to be.
set -eu

owner=/var/lib/smart-meter-guard/configuration/owner
if [ -e "$owner" ] && [ "$(cat "$owner")" != "$CONTROLLER" ]; then
    echo "the change that waits there is not this run's, but that of $(cat "$owner")"
    exit 1
fi
smart-meter-guard confirm configuration
