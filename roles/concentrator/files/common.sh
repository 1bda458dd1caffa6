#!/bin/sh
# Functions that several scripts use. rollout/pi.py sends them in front of each script. CONTROLLER identifies this run.

# Seconds since boot. The clock may jump while a Pi is provisioned.
uptime_seconds() {
    cut -d . -f 1 /proc/uptime
}

# Print the name of another run whose claim on this Pi is still valid; print nothing if there is none.
other_holder() {
    if [ -s /run/smart-meter-claim ]; then
        { read -r until && read -r holder; } < /run/smart-meter-claim
        if [ "$holder" != "$CONTROLLER" ] && [ "$until" -gt "$(uptime_seconds)" ]; then
            echo "$holder"
        fi
    fi
}

# The guard's old words, knows and undo, are for a Pi whose guard was installed by an older release.
guard_supports() {
    smart-meter-guard supports "$1" 2> /dev/null || smart-meter-guard knows "$1" 2> /dev/null
}

guard_roll_back() {
    if smart-meter-guard supports "$1" 2> /dev/null; then
        smart-meter-guard roll_back "$1"
    else
        smart-meter-guard undo "$1"
    fi
}

# Exit with 75 while the change $1 waits for its confirmation. Roll it back if its timer is gone: nothing else would.
finish_earlier_change() {
    change=/var/lib/smart-meter-guard/$1
    # The timer may outlive its change, which was rolled back early.
    if [ ! -e "$change/paths" ]; then
        return
    fi
    # The last two names are those of older releases.
    if systemctl is-active --quiet "smart-meter-guard@$1.timer" "smart-meter-guard@$1.service" \
        "smart-meter-guard-$1.timer" "smart-meter-guard-$1.service"; then
        echo "the $1 from $(cat "$change/owner" 2> /dev/null || echo "another run") is not confirmed there yet"
        exit 75
    fi
    guard_roll_back "$1"
}

# Print a small file of the service's folder. Its user could put a pipe, a link or a device there: nothing is printed then.
read_service_file() {
    timeout 5 dd if="$1" iflag=nofollow,nonblock bs=1M count=1 status=none 2> /dev/null || :
}
