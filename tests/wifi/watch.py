"""Counts, on the Pi, the command lines that hold certain words, until it is stopped.

Its argument is a JSON file {name: word}; beside it, FILE.seen is {name: number of looks that found it}. The
words are in a file, because they would be on a command line of its own otherwise.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def look(words: dict[str, str], seen: dict[str, int], old: set[str]) -> None:
    """Look once at the command lines and environments of all processes but the old ones."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or name in old:
            continue
        try:
            said = Path("/proc", name, "cmdline").read_bytes() + Path("/proc", name, "environ").read_bytes()
        except OSError:  # It has ended meanwhile.
            continue
        for what, word in words.items():
            if word.encode() in said:
                seen[what] += 1


def main() -> None:
    file = Path(sys.argv[1])
    words: dict[str, str] = json.loads(file.read_text())
    seen = dict.fromkeys(words, 0)
    result = file.with_name(f"{file.name}.seen")
    # The machine is slow, and those that run already are not the ones to watch.
    old = set(os.listdir("/proc"))
    while True:
        look(words, seen, old)
        # It may be stopped at any moment: the result is whole, or the one before.
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps(seen))
        new.replace(result)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
