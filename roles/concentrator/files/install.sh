#!/bin/sh
# Install a release from the wheels that were copied to /opt/smart-meter/incoming. Arguments: the release, the user that has
# to be able to run it, and pip's own wheel. Standard input, in base64: each wheel's SHA-256, as sha256sum prints it.
#
# If the release exists already, it is damaged. It is kept aside, and restored if the installation fails.
# Exit status 3: refused, nothing was changed.
set -eu
# The service's user has to read and run all of this, whatever the Pi's own umask is.
umask 022
# The same sort order for every user.
export LC_ALL=C

root=/opt/smart-meter
wheels=$root/incoming/$1
place=$root/releases/$1
damaged=$root/releases/.damaged-$1
user=$2
installer=$3

refuse() {
    echo "$1; nothing was changed. Run make provision again; if it is refused again, find out what changes files in transit"
    exit 3
}

restore() {
    rm -rf "$place"
    if [ -e "$damaged" ]; then
        mv "$damaged" "$place"
    fi
}

# Verify all wheels, including pip's own, before anything in them runs.
cd "$wheels"
sums=$(base64 -d)
if ! wrong=$(echo "$sums" | sha256sum --check --strict --quiet 2>&1); then
    refuse "$wheels: a wheel differs from the one that the controller has verified: $wrong"
fi
for file in *; do
    if ! echo "$sums" | grep --quiet --fixed-strings --line-regexp "$(sha256sum "$file")"; then
        refuse "$wheels/$file: not a wheel of this release"
    fi
done

# A power cut may have left a half-removed one.
rm -rf "$damaged"
if [ -e "$place" ]; then
    mv "$place" "$damaged"
fi
trap restore EXIT
/usr/bin/python3 -m venv --without-pip "$place"
set --
for file in *.whl; do
    if [ "$file" != "$installer" ]; then
        set -- "$@" "$file"
    fi
done
# The path of this python becomes the first line of the installed programs. pip runs from its wheel and is not installed.
"$place/bin/python" "$wheels/$installer/pip" install --quiet --no-index --no-deps --no-cache-dir \
    --disable-pip-version-check --root-user-action=ignore "$@"
if [ -e "$damaged/ran" ]; then
    cp --archive "$damaged/ran" "$place/"
fi

# Try it as the service's user: whether its modules load, and whether it computes a register map.
cd /
for arguments in --version map; do
    if ! output=$(setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all \
        env PYTHONDONTWRITEBYTECODE=1 "$place/bin/smart-meter" $arguments 2>&1); then
        echo "the user $user can't run $place/bin/smart-meter $arguments: $(echo "$output" | tail -n 3)"
        exit 1
    fi
done

cd "$place"
find . -type l -printf '%p %l\n' | sort > .links
find . -type f ! -path './ran/*' ! -name '.complete*' -print0 | sort -z | xargs -0 sha256sum > .complete.new
# Everything has to be on the card before the mark is.
sync --file-system .
mv .complete.new .complete
sync .
trap - EXIT
rm -rf "$damaged" "$wheels"
