#!/bin/sh
# Start the service with another release. Arguments: the release, the seconds in which it has to be proven, and the kind of the
# event for the audit trail: release or rollback. Unless `smart-meter-guard confirm release` comes first, the Pi rolls back by
# itself.
set -eu

# The release's configuration and unit have to be on the card before the link leads to it.
sync
cd /opt/smart-meter
previous=$(readlink current || :)
# A guard of an older release does not have this command.
smart-meter-guard note "$3" "from ${previous##*/} to $1" > /dev/null 2>&1 || :
rm -f .current.new
ln -s "releases/$1" .current.new
# One rename: the link always leads to the old or to the new release.
mv --no-target-directory .current.new current
sync .
smart-meter-guard rearm release "$2"
systemctl daemon-reload
if ! systemctl restart smart-meter.service; then
    journalctl --unit=smart-meter.service --lines=5 --output=cat --no-pager
    exit 1
fi
