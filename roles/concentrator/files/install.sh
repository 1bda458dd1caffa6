#!/bin/sh
# Install a release from the archive of wheels that was copied to /opt/smart-meter/incoming. Arguments: the release, the user that
# has to be able to run it, pip's own wheel, and the archive's SHA-256.
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
archive=$wheels.tar
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
if ! echo "$4  $archive" | sha256sum --check --status; then
    refuse "$archive: not what the controller has verified: its SHA-256 is not $4"
fi
rm -rf "$wheels"
mkdir "$wheels"
tar --extract --no-same-owner --file "$archive" --directory "$wheels"
cd "$wheels"

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
rm -rf "$damaged" "$wheels" "$archive"
