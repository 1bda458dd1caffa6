#!/bin/sh
# Install a release from the wheels that were copied to /opt/smart-meter/incoming. Arguments: the release, the user that has
# to be able to run it, and pip's own wheel. Standard input, in base64: each wheel's SHA-256, as sha256sum prints them.
#
# A release that is there already is damaged: it keeps its place until the new one is complete.
# Exit status 3: refused, and nothing was changed.
set -eu
# Whatever the Pi's own is: the service's user reads and runs all of this.
umask 022
# The order of names, the same for each user.
export LC_ALL=C

root=/opt/smart-meter
wheels=$root/incoming/$1
place=$root/releases/$1
damaged=$root/releases/.damaged-$1
user=$2
installer=$3

refuse() {
    echo "$1; nothing was changed. Run make provision again; where it is refused again, look who changes files on the way"
    exit 3
}

put_back() {
    rm -rf "$place"
    if [ -e "$damaged" ]; then
        mv "$damaged" "$place"
    fi
}

# Nothing of them runs before this, pip's own wheel included.
cd "$wheels"
sums=$(base64 -d)
if ! wrong=$(echo "$sums" | sha256sum --check --strict --quiet 2>&1); then
    refuse "$wheels: a wheel is not the one that the controller has checked: $wrong"
fi
for file in *; do
    if ! echo "$sums" | grep --quiet --fixed-strings --line-regexp "$(sha256sum "$file")"; then
        refuse "$wheels/$file: not a wheel of this release"
    fi
done

# One that a power cut left there half-removed.
rm -rf "$damaged"
if [ -e "$place" ]; then
    mv "$place" "$damaged"
fi
trap put_back EXIT
/usr/bin/python3 -m venv --without-pip "$place"
set --
for file in *.whl; do
    if [ "$file" != "$installer" ]; then
        set -- "$@" "$file"
    fi
done
# Its own path becomes the first line of the programs that it installs. pip runs straight out of its wheel and stays there.
"$place/bin/python" "$wheels/$installer/pip" install --quiet --no-index --no-deps --no-cache-dir \
    --disable-pip-version-check --root-user-action=ignore "$@"
if [ -e "$damaged/ran" ]; then
    cp --archive "$damaged/ran" "$place/"
fi

# As the service will, with what it starts with: its modules, and a configuration.
cd /
for arguments in --version map; do
    if ! said=$(setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all \
        env PYTHONDONTWRITEBYTECODE=1 "$place/bin/smart-meter" $arguments 2>&1); then
        echo "the user $user can't run $place/bin/smart-meter $arguments: $(echo "$said" | tail -n 3)"
        exit 1
    fi
done

cd "$place"
find . -type l -printf '%p %l\n' | sort > .links
find . -type f ! -path './ran/*' ! -name '.complete*' -print0 | sort -z | xargs -0 sha256sum > .complete.new
# All of it is on the card before the mark says so.
sync --file-system .
mv .complete.new .complete
sync .
trap - EXIT
rm -rf "$damaged" "$wheels"
