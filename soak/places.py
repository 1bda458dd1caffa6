"""The network namespaces that scenarios run in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.integration.networks import LINKS, Networks

PREFIX = "smsoak"
FIELD, CONTROL = "field", "control"


@contextmanager
def networks(*names: str) -> Iterator[Networks]:
    """Create the Pi's namespace and those of other hosts; by default, a field host and a control host."""
    links: Mapping[str, tuple[str, str, str]] = {name: LINKS[name] for name in names or (FIELD, CONTROL)}
    created = Networks(PREFIX, links)
    try:
        yield created
    finally:
        created.remove()
