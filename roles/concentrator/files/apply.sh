#!/bin/sh
# Write a configuration and reload the service; either all of it takes effect, or nothing. Standard input: the configuration,
# in base64. Arguments:
#
#   seconds after which the Pi rolls back, unless `smart-meter-guard confirm configuration` comes first
#   the configuration's SHA-256
#   the SHA-256 of the file that the controller found here
#   "pending" if the controller found an earlier, unconfirmed change; else empty
#
# CONTROLLER identifies this run. Exit status 3: refused, nothing was changed. 75: another change is in progress; try again.
set -eu

folder=/etc/smart-meter
program=/opt/smart-meter/current/bin/smart-meter
seconds=$1
wanted=$2
found=$3
pending=$4

refuse() {
    rm -f "$folder/.config.toml.new"
    echo "$1; nothing was changed"
    exit 3
}

hash() {
    sha256sum | cut -d ' ' -f 1
}

if [ ! -x "$program" ]; then
    refuse "no release is installed on the Pi: run make provision for it once"
fi
if ! guard_supports configuration; then
    refuse "its smart-meter-guard is of an older release and can't roll back a configuration: run make provision for it once"
fi
other=$(other_holder)
if [ -n "$other" ]; then
    echo "$other is provisioning it"
    exit 75
fi
finish_earlier_change configuration
finish_earlier_change release

base64 -d > "$folder/.config.toml.new" || refuse "the configuration arrived damaged"
if [ "$(hash < "$folder/.config.toml.new")" != "$wanted" ]; then
    refuse "the configuration arrived incomplete"
fi
# The file has to be the one that the controller found, unless an earlier change was pending: then it has to differ, since
# that change has been rolled back.
changed_meanwhile() {
    case $(cat "$folder/config.toml" 2> /dev/null | hash) in
        "$wanted") false ;;
        "$found") [ -n "$pending" ] ;;
        *) [ -z "$pending" ] ;;
    esac
}
if changed_meanwhile; then
    refuse "another run has changed its configuration meanwhile: check which inventory is right, and run it again"
fi
if ! "$program" check-config "$folder/.config.toml.new"; then
    refuse "the release on the Pi refuses the configuration"
fi

# From here on, the change is rolled back unless it is confirmed: also if the power fails or the controller is lost.
smart-meter-guard begin configuration "$seconds" "$folder/config.toml"
echo "$CONTROLLER" > /var/lib/smart-meter-guard/configuration/owner
chown root:smart-meter "$folder/.config.toml.new"
chmod 0640 "$folder/.config.toml.new"
if [ -e "$folder/config.toml" ]; then
    cp --preserve "$folder/config.toml" "$folder/.config.toml.old"
    sync "$folder/.config.toml.old"
    mv "$folder/.config.toml.old" "$folder/config.toml.old"
fi
sync "$folder/.config.toml.new"
mv "$folder/.config.toml.new" "$folder/config.toml"
sync "$folder"
if systemctl is-active --quiet smart-meter.service; then
    if ! systemctl reload smart-meter.service; then
        # `smart-meter reload` waits for the service's answer in this file.
        echo "the service refuses the configuration: $(read_service_file /run/smart-meter/reload.json)"
        exit 1
    fi
else
    systemctl restart smart-meter.service
fi
