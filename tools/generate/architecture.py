"""The tables of docs/architecture.md: rooms, roles, playbooks, and the files that the roles write on a Pi."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from tools.generate import REPOSITORY, replace
from tools.generate.templates import BY_ZONE

PAGE = REPOSITORY / "docs/architecture.md"
_ROOMS = REPOSITORY / "src/smart_meter"
_TEMPLATES = REPOSITORY / "templates"


def page() -> str:
    """Return docs/architecture.md."""
    text = ""
    for name, heads, rows in (
        ("rooms", ("room", "what it holds", "modules"), _rooms()),
        ("roles", ("role", "what it does"), _roles()),
        ("playbooks", ("playbook", "make target", "what it does"), _playbooks()),
        ("files", ("path", "role"), _files()),
    ):
        text = replace(PAGE, f"make generate ({name})", _table(heads, rows), text)
    return text


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rooms() -> Iterator[tuple[str, str, str]]:
    for path in sorted(_ROOMS.glob("*/__init__.py")):
        modules = sorted(module.stem for module in path.parent.glob("*.py") if module != path)
        parts = sorted(f"{part.parent.name}/" for part in path.parent.glob("*/__init__.py"))
        yield f"`{path.parent.name}/`", _summary(path), ", ".join(f"`{name}`" for name in [*modules, *parts])


def _summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")


def _roles() -> Iterator[tuple[str, str]]:
    for path in sorted(REPOSITORY.glob("roles/*/meta/main.yml")):
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield f"`{path.parents[1].name}`", meta["galaxy_info"]["description"]


def _playbooks() -> Iterator[tuple[str, str, str]]:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for path in sorted(REPOSITORY.glob("playbooks/*.yml")):
        comment = re.search(r"(?:^# .*\n)+", path.read_text(encoding="utf-8"), re.MULTILINE)
        text = " ".join(line.removeprefix("# ") for line in comment[0].splitlines()) if comment else ""
        first = re.match(r".*?\.(?= |$)", text)
        targets = re.findall(
            rf"^([a-z-]+):(?:.*\n)(?:\t.*\n)*?\t.*playbooks/{path.name}", makefile, re.MULTILINE
        )
        yield f"`{path.name}`", ", ".join(f"`{target}`" for target in targets), first[0] if first else text


def _files() -> Iterator[tuple[str, str]]:
    managed = {
        path: path.read_text(encoding="utf-8") for path in sorted(REPOSITORY.glob("roles/*/vars/main.yml"))
    }
    for template in sorted(_TEMPLATES.rglob("*.j2")):
        relative = template.relative_to(_TEMPLATES)
        path = relative.with_suffix("")
        named = re.compile(rf"/{relative if template == BY_ZONE else path}\b")
        roles = {path.parents[1].name for path, text in managed.items() if named.search(text)}
        if template == BY_ZONE:
            path = path.with_stem(f"{path.stem}-{{field,control}}")
        yield f"`/{path}`", ", ".join(f"`{role}`" for role in sorted(roles))


PRODUCTS = {PAGE: page}
