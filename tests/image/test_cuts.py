"""The power goes again and again during the first boot, and the next one continues.

The machine is killed, so what it has written is on the disk. Cuts that lose what was not flushed are another
test.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.image.flash import CARD
from tests.image.machine import booted

FC03 = bytes.fromhex("03 0000 0008")
# Seconds after the initrd has begun to mount what changes, in which it grows the state partition, makes the
# folders and the machine-id; then come the host keys and the services.
CUTS = (0.0, 0.3, 0.6, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 40.0)


def test_the_first_boot_can_be_cut_anywhere(card: Path, key: Path, folder: Path) -> None:
    for seconds in CUTS:
        console = folder / f"cut-{seconds}"
        console.mkdir()
        with booted(card, console, keep=True) as machine:
            machine.wait_for_line("Running /scripts/init-bottom")
            time.sleep(seconds)

    last = folder / "last"
    last.mkdir()
    with booted(card, last, keep=True, key=key) as machine:
        assert machine.request(FC03) == bytes.fromhex("03 10") + bytes(16)
        report = json.loads(machine.run("cat /run/smart-meter-image/state.json"))
        assert (report["kind"], report["problems"]) == ("state", [])
        assert int(machine.run("findmnt --noheadings --bytes --output SIZE /state")) > CARD * 0.3
        assert len(machine.run("cat /etc/machine-id")) == 33
        assert machine.run("ls -A /etc/ssh | grep -c 'host.*key$'") == "2\n"
        assert machine.run("systemctl list-units --failed --plain --no-legend") == ""
