#!/bin/sh
# Keep other runs from changing this Pi at the same time. CONTROLLER identifies this run.
#
#   claim SECONDS [ENDED]   claim the Pi; ENDED: a run that the controller knows to have ended, whose claim is ignored
#   renew SECONDS           extend the claim to SECONDS from now; exit status 3: another run has claimed the Pi
#   release                 write everything to the card, and end the claim
#
# Exit status 75: another run has claimed the Pi, or a configuration is not confirmed yet. Try again.
set -eu

file=/run/smart-meter-claim
other=$(other_holder)

case $1 in
    claim)
        if [ -n "$other" ] && [ "$other" != "${3:-}" ]; then
            echo "$other holds this Pi for $(($(head -n 1 "$file") - $(uptime_seconds))) s more"
            exit 75
        fi
        finish_earlier_change configuration
        ;;
    renew)
        if [ -n "$other" ]; then
            echo "$other"
            exit 3
        fi
        ;;
    release)
        sync
        if [ -z "$other" ]; then
            rm -f "$file"
        fi
        exit
        ;;
esac
umask 022
printf '%s\n%s\n' "$(($(uptime_seconds) + $2))" "$CONTROLLER" > "$file.new"
mv "$file.new" "$file"
