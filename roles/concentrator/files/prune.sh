#!/bin/sh
# Remove the oldest releases, and print the name of each. Arguments: the release that this run installed, and how many are
# kept. The running one, the present one and the one before are never removed, whoever installed them.
set -eu

cd /opt/smart-meter/releases
needed=$(printf '%s\n' "$1" "$(readlink ../current)" "$(readlink ../previous)" "$(readlink /run/smart-meter/release)" \
    | sed 's#.*/##' | sort --unique)
left=$(($2 - $(echo "$needed" | grep --count .)))
newest_first() {
    find . -mindepth 1 -maxdepth 1 -type d ! -name '.*' -printf '%T@ %f\n' | sort --reverse --numeric-sort | cut -d ' ' -f 2
}
for release in $(newest_first); do
    if echo "$needed" | grep --quiet --fixed-strings --line-regexp "$release"; then
        continue
    fi
    left=$((left - 1))
    if [ "$left" -lt 0 ]; then
        # First the mark, so that one which is removed in part is never taken for a whole one.
        rm -f "$release/.complete"
        rm -rf "${release:?}"
        echo "$release"
    fi
done
# What a run that was cut off has left.
rm -rf .damaged-* ../incoming
