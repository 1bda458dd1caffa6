#!/bin/sh
# Compare a release with the hashes recorded when it was installed. Argument: its name. Prints one line: "whole",
# "not installed", or what is damaged. Changes nothing.
set -eu
export LC_ALL=C

if ! cd "/opt/smart-meter/releases/$1" 2> /dev/null || [ ! -e .complete ]; then
    echo "not installed"
    exit
fi
if [ ! -s .complete ]; then
    echo "damaged: .complete is empty"
    exit
fi
# sha256sum prints a line for each file that differs or is missing, with a colon after its name.
if ! wrong=$(sha256sum --check --quiet --strict .complete 2> /dev/null); then
    first=$(echo "$wrong" | head -n 1 | cut -d : -f 1)
    others=$(($(echo "$wrong" | wc -l) - 1))
    echo "damaged: ${first#./} and $others more files differ from what was installed"
elif ! find . -type l -printf '%p %l\n' | sort | cmp --quiet - .links; then
    echo "damaged: links are missing, or lead elsewhere"
else
    echo whole
fi
