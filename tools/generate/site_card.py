"""The digests of the templates' texts, by which a card's texts are checked: site_card/forms.py.

Each text is rendered with every combination of choices that changes more than the masked values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from tools.generate import REPOSITORY
from tools.generate.templates import TEMPLATES, load_plugins, render

from smart_meter.site_card.places import PLACES, Place, masked

PAGE = REPOSITORY / "src/smart_meter/site_card/forms.py"
_HEAD = '''"""The forms of a site card's files: `places.masked` of the templates (`make generate`)."""

from __future__ import annotations

FORMS: dict[str, frozenset[str]] = {
'''
_CHOICES: dict[str, tuple[Any, ...]] = {
    "concentrator_port_binding": ("authbind", "socket"),
    "network_control_gateway": ("", "192.168.2.1"),
    "appliance_ntp_servers": ([], ["192.168.2.1"]),
    "concentrator_history_path": ("/var/lib/smart-meter/history.db", "/mnt/usb/smart-meter/history.db"),
}


def page() -> str:
    """Return src/smart_meter/site_card/forms.py."""
    load_plugins()
    lines = [_HEAD]
    for place in PLACES:
        if place.masks is not None:
            digests = sorted({masked(place, text) for text in _texts(place)})
            lines.append(f'    "{place.key}": frozenset(\n        {{\n')
            lines += [f'            "{digest}",\n' for digest in digests]
            lines.append("        }\n    ),\n")
    return "".join([*lines, "}\n"])


def _texts(place: Place) -> Iterator[str]:
    template = TEMPLATES / f"{place.path.lstrip('/')}.j2"
    for values in product(*_CHOICES.values()):
        yield render(
            template, **dict(zip(_CHOICES, values, strict=True)), appliance_unattended_reboot_time="03:30"
        )


PRODUCTS: dict[Path, Callable[[], str]] = {PAGE: page}
