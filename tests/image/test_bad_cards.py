"""A booted image refuses a bad site card, and full partitions do not stop it (make test-image)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from smart_meter.site_card.card import read, render
from tests.image.appliance import SITE_CARD
from tests.image.machine import BOOT_SECONDS
from tests.image.site import Site, site
from tests.image.test_boot import IMAGE
from tests.integration.pi_story import EXAMPLE

UNIT = "smart-meter-site-card.service"


def _of_host(card: bytes) -> bytes:
    return render(replace(read(card), host="pi-other"), ["another Pi's"]).encode()


def _of_release(card: bytes) -> bytes:
    return render(replace(read(card), release="99.0.0"), ["of a newer release"]).encode()


def _with_key(card: bytes) -> bytes:
    """Add a key, and make the sum in the last line fit again."""
    body = card.rpartition(b"# sha256 ")[0].replace(b"\ntimezone =", b'\ncolour = "green"\ntimezone =', 1)
    return body + b"# sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n"


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "torn": (lambda card: card[:-100], "was not copied completely"),
    "too large": (lambda card: card + b"#" * 300_000, "is over 256 KiB long"),
    "of another host": (_of_host, '"pi-other" is another Pi'),
    "of a newer release": (_of_release, "is newer than this Pi's release"),
    "with an unknown key": (_with_key, "colour"),
    "with CRLF": (lambda card: card.replace(b"\n", b"\r\n"), "line ends"),
    "with a BOM": (lambda card: b"\xef\xbb\xbf" + card, "byte order mark"),
}


@dataclass
class Served:
    """A site that a good card has set up, its next card, and what the Pi's settings are."""

    site: Site
    next_card: bytes
    settings: str


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with site("image_bad", IMAGE) as here:
        here.pi.put_on_card(SITE_CARD, here.make_card())
        here.boot()
        here.pi.learn_host_keys()
        here.settle()
        here.controller.site["concentrator_name"] = "of the next card"
        here.controller.write()
        yield Served(here, here.make_card(), here.digests())


@pytest.mark.parametrize("kind", BAD)
def test_a_card_is_refused_and_the_settings_stay(served: Served, kind: str) -> None:
    change, reason = BAD[kind]

    answer = served.site.boot_with(change(served.next_card))

    assert reason in answer
    assert served.site.failed() == [UNIT]
    assert served.site.digests() == served.settings


def test_a_site_partition_that_is_full_does_not_stop_the_pi(served: Served) -> None:
    here = served.site
    here.power_off()
    here.pi.put_on_card(SITE_CARD, served.next_card)
    here.pi.fill_site_partition()

    here.boot()
    here.settle()

    assert 'name = "of the next card"' in here.pi.run(["cat", "/etc/smart-meter/config.toml"]).stdout
    assert here.write("field", *EXAMPLE).returncode == 0
    assert (
        "boot partition" in here.pi.run(["journalctl", "-b", "-u", UNIT, "-o", "cat"]).stdout + here.doctor()
    )


def test_a_state_partition_that_is_full_does_not_stop_the_pi(served: Served) -> None:
    here = served.site
    fill = "dd if=/dev/zero of=/state/filler bs=1M 2>/dev/null; sync; df --output=avail /state | tail -n 1"
    here.pi.run(["sh", "-c", fill], check=False, timeout=BOOT_SECONDS)

    here.pi.reboot(BOOT_SECONDS)
    here.serves_within(BOOT_SECONDS)

    assert here.write("field", *EXAMPLE).returncode == 0
    assert here.read() == EXAMPLE
    assert "state partition" in here.doctor()
    here.pi.run(["rm", "/state/filler"])
