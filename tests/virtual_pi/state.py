"""The state that a lab saves for its supervisors and for other processes that attach to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.virtual_pi import networks, places
from tests.virtual_pi.commands import LabError
from tests.virtual_pi.kinds import PLAIN


@dataclass(frozen=True)
class LabState:
    """A lab: the password of each Pi's user."""

    lab: str
    password: str

    def save(self) -> None:
        _write(places.state_folder(self.lab) / "lab.json", asdict(self))

    @staticmethod
    def load(lab: str) -> LabState:
        file = places.state_folder(lab) / "lab.json"
        if not file.exists() or not networks.is_alive(places.namespace(lab, places.CONTROL)):
            raise LabError(f"no lab {lab!r} is up; start it with: python -m tests.virtual_pi up --lab {lab}")
        return LabState(**json.loads(file.read_text()))


@dataclass(frozen=True)
class PiState:
    """A Pi: its number in the lab's networks (1 to 50), the root file system it is based on, and its kind."""

    lab: str
    pi: str
    number: int
    base: Path
    kind: str = PLAIN.name

    def save(self) -> None:
        _write(places.pi_state(self.lab, self.pi) / "pi.json", {**asdict(self), "base": str(self.base)})

    @staticmethod
    def load(lab: str, pi: str) -> PiState:
        file = places.pi_state(lab, pi) / "pi.json"
        if not file.exists():
            known = ", ".join(names(lab)) or "none"
            raise LabError(f"lab {lab!r} has no Pi {pi!r}; its Pis: {known}")
        values = json.loads(file.read_text())
        return PiState(**{**values, "base": Path(values["base"])})


def names(lab: str) -> list[str]:
    """Return the names of a lab's Pis."""
    return sorted(file.parent.name for file in (places.state_folder(lab) / "pis").glob("*/pi.json"))


def _write(file: Path, content: dict[str, object]) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, indent=2))
    new.rename(file)
