"""The filter `differing`."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from playbooks.filter_plugins.managed import differing

PATH = "/etc/x.conf"
FILES = {PATH: {"mode": "0644", "owner": "root", "group": "root"}}
TEXT = "a = ä\n"
SAME = [hashlib.sha256(TEXT.encode()).hexdigest(), "0644", "root", "root"]


def test_a_file_that_is_as_it_has_to_be_does_not_differ() -> None:
    assert differing({PATH: SAME, "/etc/other": None}, FILES, [TEXT]) == []


@pytest.mark.parametrize(
    "found",
    [None, "irregular", ["0" * 64, *SAME[1:]], *([*SAME[:at], "x", *SAME[at + 1 :]] for at in (1, 2, 3))],
)
def test_everything_about_a_file_counts(found: Any) -> None:
    assert differing({PATH: found}, FILES, [TEXT]) == [PATH]


def test_texts_belong_to_files_by_their_order() -> None:
    files = {PATH: FILES[PATH], "/etc/y.conf": FILES[PATH]}

    assert differing({PATH: SAME, "/etc/y.conf": SAME}, files, [TEXT, "b"]) == ["/etc/y.conf"]


def test_a_mistake_in_a_role_is_not_taken_for_a_difference() -> None:
    with pytest.raises(AnsibleFilterError, match=r"did not ask for /etc/x\.conf"):
        differing({}, FILES, [TEXT])
    with pytest.raises(AnsibleFilterError, match="1 files and 0 texts"):
        differing({PATH: SAME}, FILES, [])
