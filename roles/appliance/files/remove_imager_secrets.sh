# Removes the Wi-Fi passphrase that Raspberry Pi Imager left on the boot partition, if the zones' own profiles run. $1: where
# it is mounted; $2: the folder of the profiles. Exit status 3, with the reason, if one does not run.
set -eu
boot=$1 profiles=$2

active=$(nmcli -g UUID connection show --active)
for profile in "$profiles"/smart-meter-*.nmconnection; do
    uuid=$(sed -n 's/^uuid=//p' "$profile")
    if ! printf '%s\n' "$active" | grep -qxF "${uuid:-none}"; then
        echo "$profile does not run"
        exit 3
    fi
done

holds_passphrase() {
    [ -f "$boot/$1" ] && grep -Eqw 'password|psk' "$boot/$1"
}

# Overwritten in place, so that the passphrase is not left in free blocks.
remove() {
    shred --iterations=0 --zero --remove "$boot/$1"
}

if holds_passphrase network-config; then
    # cloud-init reads it for a new instance. Written first: a power cut then leaves no file half written.
    printf '# The Wi-Fi passphrase was removed when the Pi was provisioned.\nnetwork:\n  version: 2\n' > "$boot/network-config.new"
    sync "$boot/network-config.new"
    remove network-config
    mv "$boot/network-config.new" "$boot/network-config"
fi
# Those of earlier Imagers, which a Pi reads only at its first boot.
for file in wpa_supplicant.conf custom.toml; do
    if holds_passphrase "$file"; then
        remove "$file"
    fi
done
sync "$boot"
