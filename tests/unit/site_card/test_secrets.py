"""No secret of a card gets into the journal, the answer, a command line or the record."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from smart_meter.cli.commands import site_card as command
from smart_meter.cli.main import main
from smart_meter.site_card import apply as applying
from smart_meter.site_card import commands
from tests.unit.site_card.sample import PASSPHRASE, PASSWORD, VirtualPi, card, data, files
from tests.unit.site_card.test_hostile import summed

HIDDEN = "hunter2-hunter2"
GOOD = data().decode().splitlines()


def with_line(old: str, new: str) -> bytes:
    """Return the good card with another line, and the sum that fits it."""
    assert sum(line.startswith(old) for line in GOOD) == 1
    return summed([new if line.startswith(old) else line for line in GOOD[:-1]])


def with_profile(old: str, new: str, key: str = "field_profile") -> bytes:
    """Return the good card with another text in a profile."""
    assert old in files()[key]
    return data(card({key: files()[key].replace(old, new)}))


CARDS = {
    "good": data(),
    "of another host": data(card(host="pi-south", files={**files(), "host_name": "pi-south\n"})),
    "short passphrase": with_line("passphrase = ", 'passphrase = "hunter2"'),
    "passphrase with a line end": with_line("passphrase = ", f'passphrase = "{HIDDEN}\\n{HIDDEN}"'),
    "passphrase in a list": with_line("passphrase = ", f'passphrase = ["{HIDDEN}"]'),
    "passphrase without its end": with_line("passphrase = ", f'passphrase = "{HIDDEN}'),
    "passphrase without quotation marks": with_line("passphrase = ", f"passphrase = {HIDDEN}"),
    "passphrase twice": with_line("passphrase = ", f'passphrase = "{HIDDEN}"\npassphrase = "{HIDDEN}"'),
    "password in plain text": with_line("password = ", f'password = "{HIDDEN}"'),
    "unknown secret": with_line("passphrase = ", f'passphrases = "{HIDDEN}"'),
    "secrets of another type": with_line("[secrets]", f'secrets = "{HIDDEN}"\n[other]'),
    "passphrase in the profile": with_profile("@passphrase@", HIDDEN),
    "another key in the profile": with_profile("psk=", f"wep-key0={HIDDEN}\npsk="),
    "no key in the profile": with_profile("psk=", f"{HIDDEN}\npsk="),
    "key of another section": with_profile("[ipv4]", f"[ipv4]\npsk={HIDDEN}"),
    "in the control zone's profile": with_profile(
        "[ipv4]", f"[wifi-security]\npsk={HIDDEN}\n[ipv4]", "control_profile"
    ),
}


@pytest.mark.parametrize("name", CARDS)
def test_no_secret_is_printed_answered_recorded_or_on_a_command_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pi = VirtualPi(tmp_path)
    pi.write("/etc/hostname", "pi-north\n")
    pi.put(CARDS[name])
    started: list[str] = []
    popen = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[Any], args: Sequence[str], **others: Any) -> None:
        started.append(f"{args} {others.get('env')}")
        popen(self, args, **others)

    def apply(folder: Path, root: Path, run: commands.Run) -> applying.Outcome:
        del run
        return applying.apply(folder, root, pi.run, pi.numbers)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    monkeypatch.setattr(command, "apply", apply)

    status = main(["site-card", "apply", "--folder", str(pi.boot), "--root", str(pi.root)])
    main(["site-card", "check", str(pi.boot / "site-card.toml")])

    assert status == (name != "good")
    printed = capsys.readouterr()
    kept = [path.read_text() for path in pi.root.rglob("applied.json")]
    shown = [printed.out, printed.err, pi.answer, json.dumps(pi.commands), *kept, *started]
    for secret in (HIDDEN, "hunter2", PASSPHRASE, "correct horse", PASSWORD):
        assert not [text for text in shown if secret in text]
