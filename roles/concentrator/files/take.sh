#!/bin/sh
# Have the service take a configuration (standard input, in base64): all of it, or nothing. Arguments: the seconds after
# which the Pi goes back by itself, unless `smart-meter-guard confirm configuration` comes first; the SHA-256 of the
# configuration; that of the file which the controller saw here; and "waiting" where it saw an
# earlier change that nobody had confirmed. CONTROLLER says who it is.
#
# Exit status 3: refused, and nothing was changed. 75: another change is under way here; ask again.
set -eu

folder=/etc/smart-meter
program=/opt/smart-meter/current/bin/smart-meter
guard=/var/lib/smart-meter-guard
seconds=$1
wanted=$2
seen=$3
waiting=$4

refuse() {
    rm -f "$folder/.config.toml.new"
    echo "$1; nothing was changed"
    exit 3
}

hash() {
    sha256sum | cut -d ' ' -f 1
}

if [ ! -x "$program" ]; then
    refuse "there is no release on the Pi: run make provision for it once"
fi
if ! smart-meter-guard knows configuration 2> /dev/null; then
    refuse "its smart-meter-guard is of an older release and can't take a configuration back: run make provision for it once"
fi
claim=/run/smart-meter-claim
if [ -s "$claim" ]; then
    { read -r until && read -r holder; } < "$claim"
    if [ "$holder" != "$CONTROLLER" ] && [ "$until" -gt "$(cut -d . -f 1 /proc/uptime)" ]; then
        echo "$holder is provisioning it"
        exit 75
    fi
fi
for change in configuration release; do
    # A timer may go on without a change, which was taken back before its time.
    if [ ! -e "$guard/$change/paths" ]; then
        continue
    fi
    if systemctl is-active --quiet "smart-meter-guard-$change.timer" "smart-meter-guard-$change.service"; then
        echo "the $change from $(cat "$guard/$change/owner" 2> /dev/null || echo "another run") is not confirmed there yet"
        exit 75
    fi
    # One that nobody would take back any more: whoever was to do it is gone.
    smart-meter-guard undo "$change"
done

base64 -d > "$folder/.config.toml.new" || refuse "the configuration came damaged"
if [ "$(hash < "$folder/.config.toml.new")" != "$wanted" ]; then
    refuse "the configuration came in part only"
fi
# Whoever comes second has to look again. Where a change waited for its confirmation when the controller looked, another file
# than then is the good sign: that change was taken back, and nobody is at work here any more.
overtaken() {
    case $(cat "$folder/config.toml" 2> /dev/null | hash) in
        "$wanted") false ;;
        "$seen") [ -n "$waiting" ] ;;
        *) [ -z "$waiting" ] ;;
    esac
}
if overtaken; then
    refuse "somebody else has changed its configuration meanwhile: see whose inventory is right, and run it again"
fi
if ! "$program" check-config "$folder/.config.toml.new"; then
    refuse "the release on the Pi refuses the configuration"
fi

# From here on it is undone unless somebody says that it is good: also where the power fails, or the controller goes.
smart-meter-guard begin configuration "$seconds" "$folder/config.toml"
echo "$CONTROLLER" > "$guard/configuration/owner"
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
        # What the service said stands where `smart-meter reload` waits for it.
        echo "the service refuses the configuration: $(cat /run/smart-meter/reload.json)"
        exit 1
    fi
else
    systemctl restart smart-meter.service
fi
