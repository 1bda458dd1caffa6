"""Counts how often certain words appear in the command lines of the Pi's processes, until it is stopped.

Its argument is a JSON file {name: word}. It writes the counts to FILE.seen: {name: count}. The words are in a
file so that they do not appear in its own command line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def look(words: dict[str, str], seen: dict[str, int], old: set[str]) -> None:
    """Search the command lines and environments of all processes except the old ones once."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or name in old:
            continue
        try:
            text = Path("/proc", name, "cmdline").read_bytes() + Path("/proc", name, "environ").read_bytes()
        except OSError:  # It has just ended.
            continue
        for what, word in words.items():
            if word.encode() in text:
                seen[what] += 1


def main() -> None:
    file = Path(sys.argv[1])
    words: dict[str, str] = json.loads(file.read_text())
    seen = dict.fromkeys(words, 0)
    result = file.with_name(f"{file.name}.seen")
    # Processes that already run are not of interest, and the machine is slow.
    old = set(os.listdir("/proc"))
    while True:
        look(words, seen, old)
        # Replaced at once, since this process may be stopped at any moment.
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps(seen))
        new.replace(result)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
