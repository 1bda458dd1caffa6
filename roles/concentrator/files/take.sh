#!/bin/sh
# Have the service take a configuration (standard input, in base64): all of it, or nothing. Arguments: the seconds after
# which the Pi goes back by itself, unless `smart-meter-guard confirm configuration` comes first.
set -eu

folder=/etc/smart-meter
seconds=$1

base64 -d > "$folder/.config.toml.new"
chown root:smart-meter "$folder/.config.toml.new"
chmod 0640 "$folder/.config.toml.new"
if ! /opt/smart-meter/current/bin/smart-meter check-config "$folder/.config.toml.new"; then
    rm "$folder/.config.toml.new"
    echo "the release on the Pi refuses the configuration; nothing was changed"
    exit 1
fi
# From here on it is undone unless somebody says that it is good: also where the power fails, or the controller goes.
smart-meter-guard begin configuration "$seconds" "$folder/config.toml"
cp --preserve "$folder/config.toml" "$folder/.config.toml.old"
mv "$folder/.config.toml.old" "$folder/config.toml.old"
sync "$folder/.config.toml.new" "$folder/config.toml.old"
mv "$folder/.config.toml.new" "$folder/config.toml"
sync "$folder"
if systemctl is-active --quiet smart-meter.service; then
    if ! systemctl reload smart-meter.service; then
        # What the service said stands where `smart-meter reload` waits for it.
        echo "the service refuses the configuration: $(cat /run/smart-meter/reload.json)"
        exit 1
    fi
else
    systemctl restart smart-meter.service
fi
