"""Why packages could not be installed, and the fix. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

WAIT_SECONDS = 900
"""How long to wait for others that install packages: a first boot may install some hundred updates."""

INSTALL = """
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
keep='-o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef'
quick='-o Acquire::Retries=0 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15'
wait='-o DPkg::Lock::Timeout=60'
if [ "$1" = interrupted ]; then
    dpkg --configure -a --force-confold --force-confdef || exit
fi
shift
# It succeeds also if no list could be fetched. Those that are there may do.
apt-get $quick $wait update
apt-get $quick $wait $keep --yes --no-install-recommends install -- "$@" || exit
# The card keeps no package that is installed.
apt-get clean || true
"""
"""A program for sh. Arguments: `interrupted` if dpkg has to finish first, else anything; then packages."""

_FETCH = re.compile(r"(?m)^[EW]: Failed to fetch \S+\s+(.+)$")
_ERROR = re.compile(r"(?m)^E: (.+)$|^dpkg: (error.+)$")


def reason(output: str) -> str:
    """Return the first reason in the output of dpkg and apt. A download's is first: others follow from it."""
    for pattern in (_FETCH, _ERROR):
        if found := pattern.search(output):
            return next(group for group in found.groups() if group).strip()
    lines = output.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def failure(names: Sequence[str], output: str) -> str:
    """Return the message for packages that could not be installed."""
    missing = f"missing packages: {', '.join(names)}"
    if _FETCH.search(output) or "Unable to locate package" in output or "no installation candidate" in output:
        fix = (
            "a Pi needs a connection to Debian's packages once, so give it one (a gateway and a name server,"
            " for example by DHCP on its first network), and run again"
        )
    else:
        fix = "log in and run sudo apt-get install with these packages to see more"
    return f"{missing}; apt: {reason(output)}; {fix}"


def too_long(lock: str) -> str:
    """Return the message for a program that has not released dpkg's lock. lock: as the look names it."""
    process = re.search(r"\d+", lock)
    number = process[0] if process else "PID"
    return (
        f"{lock} has been installing packages for {WAIT_SECONDS // 60} minutes; wait until it ends, or find"
        f" out why it does not (ps -f {number} on the Pi), and run again"
    )
