"""The default register map in docs/register-map.md."""

from __future__ import annotations

from tools.generate import REPOSITORY, replace

from smart_meter.config import Config
from smart_meter.map_document import render

_PAGE = REPOSITORY / "docs/register-map.md"


def _page() -> str:
    meters = Config().meters
    return replace(_PAGE, "smart-meter map --format markdown", render("markdown", meters, meters))


PRODUCTS = {_PAGE: _page}
