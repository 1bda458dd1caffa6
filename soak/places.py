"""The network namespaces that hardships are gone through in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.integration.networks import LINKS, Networks

PREFIX = "smsoak"
FIELD, CONTROL = "field", "control"


@contextmanager
def networks(*names: str) -> Iterator[Networks]:
    """Give the Pi's namespace and those of hosts around it; by default, a field host and a control host."""
    links: Mapping[str, tuple[str, str, str]] = {name: LINKS[name] for name in names or (FIELD, CONTROL)}
    made = Networks(PREFIX, links)
    try:
        yield made
    finally:
        made.remove()
