#!/bin/sh
# Remove the oldest releases, and print the name of each. Arguments: the release that this run installed, and how many to
# keep. The running, the current and the previous release are never removed, even if another run installed them.
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
        # First the mark, so that a release which is removed only in part never counts as complete.
        rm -f "$release/.complete"
        rm -rf "${release:?}"
        echo "$release"
    fi
done
# Left by runs that were interrupted.
rm -rf .damaged-* ../incoming
