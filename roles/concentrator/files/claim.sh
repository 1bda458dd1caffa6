#!/bin/sh
# Keep other runs from changing this Pi while one does. CONTROLLER says who this run is.
#
#   claim SECONDS [GONE]   take it; GONE: a holder that the controller knows to have ended
#   renew SECONDS          count the time from now; exit status 3: another run has it
#   release                write everything to the card, and let others in
#
# Exit status 75: another run has it, or a configuration is not confirmed yet; ask again.
set -eu

file=/run/smart-meter-claim
change=/var/lib/smart-meter-guard/configuration
holder=
left=0
# Counted from the boot: the clock of a Pi may jump while it is provisioned.
now=$(cut -d . -f 1 /proc/uptime)
if [ -s "$file" ]; then
    { read -r until && read -r holder; } < "$file"
    left=$((until - now))
fi
taken=
if [ -n "$holder" ] && [ "$holder" != "$CONTROLLER" ] && [ "$left" -gt 0 ]; then
    taken=yes
fi

case $1 in
    claim)
        if [ -n "$taken" ] && [ "$holder" != "${3:-}" ]; then
            echo "$holder holds this Pi for $left s more"
            exit 75
        fi
        if [ -e "$change/paths" ]; then
            if systemctl is-active --quiet smart-meter-guard-configuration.timer smart-meter-guard-configuration.service; then
                echo "the configuration from $(cat "$change/owner" 2> /dev/null || echo "another run") is not confirmed there yet"
                exit 75
            fi
            # Nobody would take it back any more.
            smart-meter-guard undo configuration
        fi
        ;;
    renew)
        if [ -n "$taken" ]; then
            echo "$holder"
            exit 3
        fi
        ;;
    release)
        sync
        if [ -z "$taken" ]; then
            rm -f "$file"
        fi
        exit
        ;;
esac
umask 022
printf '%s\n%s\n' "$((now + $2))" "$CONTROLLER" > "$file.new"
mv "$file.new" "$file"
