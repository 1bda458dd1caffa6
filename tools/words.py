"""Find words that the project does not use, in code, comments, messages and documents (`make lint`).

    tools/words.py              name each place and what to write instead; exit 1 if there is one
    tools/words.py --update     also remove from tools/words_left.txt what has become clean

Files and folders in tools/words_left.txt are not checked yet. The list may only get shorter: an entry that is
clean, or that does not exist, is an error, too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
LEFT = REPOSITORY / "tools/words_left.txt"
# This file and its test name the words; golden files are copies of templates.
_NEVER = ("tools/words.py", "tests/unit/tools/test_words.py", "tests/unit/roles/golden/", "LICENSE")
_SUFFIXES = {".py", ".md", ".yml", ".j2", ".sh", ".toml", ".cfg", ".in", ".c", ""}

WORDS: tuple[tuple[str, str], ...] = (
    (r"tell|tells|told|telling", "log, report, show, return"),
    (r"say|says|saying", "state, report, mean, show"),
    (r"is told (?:of|about)|are told (?:of|about)", "is warned of, learns of"),
    (r"(?<!left )(?<!leave )(?<!leaves )(?<!let )(?<!stand )alone", "only"),
    (r"(?<!there )is no (?!longer\b|more\b)\w+", "is not a ..."),
    (r"anew", "again"),
    (r"whoever|whomever|whom", "the caller, the client, ..."),
    # In quotes or backticks it is the JSON key of older releases.
    (r"(?<![\"`])(?:mend|mends|mended|mending)", "fix"),
    (r"can't be had|could not be had|(?:is|are|was|were) to be had", "is not available"),
    (r"fares|fare(?= with| well)", "is, does"),
    (r"gives? way|gave way|giving way", "is closed, is evicted"),
    (r"the like of", "similar"),
    (r"what (?:became|becomes) of", "what happened to, the result of"),
    (r"(?:set|sets|setting) (?:it |them )?apart", "select, mark"),
    (r"be content", "assert"),
    (r"(?:the|a|no) way back", "a rollback"),
    (r"(?:held|hold|holds|holding) (?:\w+ ){1,6}against", "compare with"),
    (r"for ever", "forever"),
    (r"all else", "everything else"),
    (r"so (?:many|much) (?:seconds|days|lines|at most)", "this many, at most"),
    (r"by turns", "in turn"),
    (r"on the way(?=,|\.| leaves)", "during the run"),
)
"""A regular expression of whole words, without regard to case, and what to write instead."""
# A sentence that begins so means a condition. A question or a place does not go on like this.
_CONDITION = re.compile(
    r"(?:^|[.;:#] +)Where (?:it|there|none|nobody|no|nothing|not|this|that|they|one|the|an?)\b"
)
_PATTERNS = [(re.compile(rf"\b(?:{word})\b", re.IGNORECASE), instead) for word, instead in WORDS]


class Find(NamedTuple):
    """A word in a line of a file."""

    path: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.word}": write {self.instead}'


def find(path: str, text: str) -> Iterator[Find]:
    """Yield each word of a text that is not to be used."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, instead in _PATTERNS:
            for match in pattern.finditer(line):
                yield Find(path, number, match[0], instead)
        for match in _CONDITION.finditer(line):
            yield Find(path, number, match[0].strip(' .;:#"'), "if, when")


def judge(found: Iterable[Find], left: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the finds outside the entries that are left, and the entries that can be removed."""
    entries, known = list(left), list(paths)
    dirty = set()
    problems = []
    for each in found:
        entry = next((entry for entry in entries if _covers(entry, each.path)), None)
        if entry is None:
            problems.append(str(each))
        else:
            dirty.add(entry)
    for entry in entries:
        if not any(_covers(entry, path) for path in known):
            problems.append(f"tools/words_left.txt: {entry} does not exist; remove the line")
        elif entry not in dirty:
            problems.append(
                f"tools/words_left.txt: {entry} is clean; remove the line (tools/words.py --update)"
            )
    return problems


def _covers(entry: str, path: str) -> bool:
    return path == entry or (entry.endswith("/") and path.startswith(entry))


def read_left() -> list[str]:
    """Return the entries of tools/words_left.txt."""
    lines = LEFT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read_files() -> dict[str, str]:
    """Return the text of every file to be checked, by its path in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git from the PATH, as make uses it
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    texts = {}
    for name in sorted(listed.stdout.splitlines()):
        path = REPOSITORY / name
        if path.suffix in _SUFFIXES and path.is_file() and not any(_covers(never, name) for never in _NEVER):
            texts[name] = path.read_text(encoding="utf-8")
    return texts


def check() -> list[str]:
    """Return everything that is wrong in the repository."""
    texts = read_files()
    found = [each for path, text in texts.items() for each in find(path, text)]
    return judge(found, read_left(), texts)


def _update() -> None:
    texts = read_files()
    dirty = {path for path, text in texts.items() if next(find(path, text), None)}
    lines = LEFT.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [
        line for line in lines if line.startswith("#") or any(_covers(line.strip(), path) for path in dirty)
    ]
    LEFT.write_text("".join(kept), encoding="utf-8")


def main() -> None:
    """Print what is wrong and exit with 1 if anything is."""
    if "--update" in sys.argv[1:]:
        _update()
    problems = check()
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
