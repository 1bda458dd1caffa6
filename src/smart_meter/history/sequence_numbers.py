"""The meters' sequence numbers: none repeats or goes back within a generation, whatever ends the service.

A number is seen by readers before its sample is on disk, and some samples are never stored. So the file
holds a number ahead of each meter's: a start after a power cut goes on from there, which skips numbers. A
clean stop stores the exact one.
"""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 65_536
"""How far ahead a number is reserved. At a power cut a day, 32 bits last for 179 years."""
_LEFT = 32_768
"""Reserve again once so few are left: more than a second's samples, since that often `latest` is updated."""


class SequenceNumbers:
    """What the writer reserves, and what the meters have used; each attribute is replaced as a whole."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        """By meter's name, the number from which on it may count, as the file had it at the start."""
        self.latest: dict[str, int] = {}
        """Each present meter's number; replaced by the receiving thread."""
        self.reserved: dict[str, int] = {}
        """Up to which number a meter may count; replaced by the writer once that is on disk."""
        self._file = 0

    @property
    def generation(self) -> int:
        """Return the generation that the present numbers belong to; 0 while that is not on disk yet."""
        return self._file if self._file and self._least_left() >= 0 else 0

    @property
    def are_due(self) -> bool:
        """Return whether the writer has to reserve more."""
        return bool(self.latest) and self._least_left() < _LEFT

    def first(self, meter: str) -> int:
        """Return the number from which on a meter has to count that is new in the configuration."""
        if meter in self.latest:
            return self.latest[meter]
        return max(self.reserved.get(meter, 0), self.found.get(meter, 0))

    def use(self, latest: Mapping[str, int]) -> None:
        """Take the present meters' numbers. One that has left may have used some more since the last call."""
        left = {meter: number + BLOCK for meter, number in self.latest.items() if meter not in latest}
        self.found = {**self.found, **left}
        self.latest = dict(latest)

    def ahead(self) -> dict[str, int]:
        """Return the numbers to reserve."""
        return {meter: number + BLOCK for meter, number in self.latest.items()}

    def committed(self, generation: int, numbers: Mapping[str, int]) -> None:
        """Take note of what is on disk now."""
        self.reserved = {**self.reserved, **numbers}
        self._file = generation

    def forget(self) -> None:
        """Forget what was reserved: the writer has left the file."""
        self._file = 0
        self.found = {name: self.first(name) for name in {*self.found, *self.reserved, *self.latest}}
        self.reserved = {}

    def _least_left(self) -> int:
        reserved = self.reserved
        return min((reserved.get(meter, -1) - number for meter, number in self.latest.items()), default=-1)
