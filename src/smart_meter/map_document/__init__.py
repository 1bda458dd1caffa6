"""The register map as a document: for people, for a PLC's tag import, for a C program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smart_meter.config import MeterConfig
from smart_meter.map_document.c_header import c_header
from smart_meter.map_document.identifiers import IdentifierError
from smart_meter.map_document.markdown import markdown
from smart_meter.map_document.tags import tags

__all__ = ["FORMATS", "IdentifierError", "render"]

FORMATS: dict[str, Callable[[Sequence[MeterConfig], Sequence[MeterConfig]], str]] = {
    "markdown": lambda _, chosen: markdown(chosen),
    "csv": tags,
    "c": c_header,
}


def render(form: str, meters: Sequence[MeterConfig], chosen: Sequence[MeterConfig]) -> str:
    """Return the register map of the chosen meters in one of `FORMATS`.

    meters: all meters of the configuration; an identifier must not depend on which ones are printed.
    Raises IdentifierError if two names would be the same identifier.
    """
    return FORMATS[form](meters, chosen)
