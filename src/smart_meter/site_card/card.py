"""The site card's format: TOML with a head for people, and a SHA-256 of all of it in the last line. Pure.

A card is the same card without its secrets, so its identity (`identity`) does not contain them.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from smart_meter import __version__
from smart_meter.config.toml_table import Problem, Table, parse_toml, show
from smart_meter.site_card.places import PLACES

FORMAT = 1
NAME = "site-card.toml"
MAX_BYTES = 256 * 1024
PASSPHRASE, PASSWORD = "passphrase", "password"
SECRETS = (PASSPHRASE, PASSWORD)
MAKE_AGAIN = "make the card on the controller (make site-card HOST=NAME) and copy it again"
_BY_AN_EDITOR = (
    "so it is not as it was made: a program has saved or converted it; copy the card from the controller "
    "again, without opening it"
)

_SUM = re.compile(r"# sha256 ([0-9a-f]{64})\Z")
_FORMAT = re.compile(r"^format = (\d{1,9})$", re.MULTILINE)
_SECRET_LINE = re.compile(rf"^(?:{'|'.join(SECRETS)}) = .*\n", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")
_RELEASE = re.compile(r"\d{1,6}(?:\.\d{1,6}){2}\Z")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}\Z")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
_KEY = re.compile(
    r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com"
    r"|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]{40,2000}={0,2}(?: [^\x00-\x1f\x7f]{1,200})?\Z"
)
_HASH = re.compile(r"\$(?:6|y)\$[A-Za-z0-9./$=,_-]{20,200}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class CardError(Exception):
    """A card is refused; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def refused(key: str, message: str) -> CardError:
    """Return the error of a card with one problem."""
    return CardError([Problem(NAME, key, message)])


@dataclass(frozen=True, slots=True)
class Card:
    """The content of a card.

    replaces: the host whose Pi this card may give another name; empty if none. files: texts by the keys of
    `places`. secrets: as they are written on the Pi, by the names in SECRETS. Their values are not printed.
    """

    host: str
    release: str
    timezone: str
    user: str
    sudo_asks: bool
    keys: tuple[str, ...]
    firewall: tuple[str, ...]
    files: Mapping[str, str]
    replaces: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def identity(card: Card) -> str:
    """Return what two cards with the same content have in common, whether or not they have their secrets."""
    content = {**_plain(card), "files": dict(card.files)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def render(card: Card, head: Iterable[str]) -> str:
    """Return the text of a card. head: lines for people, written as comments."""
    lines = [f"# {line}".rstrip() for line in head]
    plain = _plain(card)
    lines += ["", *(f"{key} = {_toml(plain[key])}" for key in ("format", "release", "host", "replaces"))]
    lines += [f"timezone = {_toml(card.timezone)}", "firewall = ["]
    lines += [*(f"    {_toml(line)}," for line in card.firewall), "]"]
    lines += ["", "[login]", f"user = {_toml(card.user)}", f"sudo_asks = {_toml(card.sudo_asks)}", "keys = ["]
    lines += [*(f"    {_toml(key)}," for key in card.keys), "]"]
    lines += ["", "[secrets]"]
    lines += [f"{name} = {_toml(card.secrets[name])}" for name in SECRETS if name in card.secrets]
    lines += ["", "[files]"]
    for place in PLACES:
        if place.key in card.files:
            lines += [f"{place.key} = {_long(card.files[place.key])}", ""]
    return _with_sum("\n".join(lines) + "\n")


def read(data: bytes) -> Card:
    """Return a card. Raises CardError with every problem at once.

    A byte order mark and CRLF line ends are refused: a program that adds them may have changed more.
    """
    if len(data) > MAX_BYTES:
        raise refused("", f"is over {MAX_BYTES // 1024} KiB long, which no site card is; {MAKE_AGAIN}")
    text = canonical(data)
    newer = _FORMAT.search(text)
    if newer and int(newer[1]) > FORMAT:
        raise refused(
            "format",
            f"{newer[1]} is newer than this Pi's release {__version__}, which reads format {FORMAT}; "
            "flash a newer image, or make the card with this release's playbooks",
        )
    if added := list(_added(data)):
        raise CardError(Problem(NAME, "", f"has {what}, {_BY_AN_EDITOR}") for what in added)
    if not is_whole(text):
        raise refused(
            "last line",
            "is not the SHA-256 of the card: it was not copied completely, or was edited; " + MAKE_AGAIN,
        )
    problems: list[Problem] = []
    data_table = parse_toml(text, NAME, problems)
    if data_table is None:
        raise CardError(problems)
    card = _read_root(Table(NAME, "", data_table, problems))
    if problems or card is None:
        raise CardError(problems)
    return card


def canonical(data: bytes) -> str:
    """Return the text of a card without what editors add. Raises CardError if it is not text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise refused("", f"is UTF-16 (Unicode), {_BY_AN_EDITOR}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(f"byte {error.start}", f"is not UTF-8: the card is damaged; {MAKE_AGAIN}") from None
    return text.replace("\r\n", "\n")


def _added(data: bytes) -> Iterator[str]:
    """Yield what a program has added to a card."""
    if data.startswith(codecs.BOM_UTF8):
        yield "a byte order mark"
    if b"\r\n" in data:
        yield "the line ends of Windows (CRLF)"


def is_whole(text: str) -> bool:
    """Whether the last line is the SHA-256 of the lines before it."""
    body, _, last = text.rstrip("\n").rpartition("\n")
    found = _SUM.match(last)
    return found is not None and _sum(f"{body}\n") == found[1]


def without_secrets(text: str) -> str:
    """Return a card's text, as `canonical` returns it, without the secrets' lines; its sum fits again."""
    before, mark, rest = text.partition("\n[secrets]\n")
    secrets, end, after = rest.partition("\n[files]\n")
    body = before + mark + _SECRET_LINE.sub("", f"{secrets}\n").removesuffix("\n") + end + after
    return _with_sum(body.rstrip("\n").rpartition("\n")[0] + "\n")


def _plain(card: Card) -> dict[str, Any]:
    """Return the content of a card without files and secrets."""
    return {
        "format": FORMAT,
        "release": card.release,
        "host": card.host,
        "replaces": card.replaces,
        "timezone": card.timezone,
        "firewall": list(card.firewall),
        "login": [card.user, card.sudo_asks, list(card.keys)],
    }


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _with_sum(body: str) -> str:
    return f"{body}# sha256 {_sum(body)}\n"


def _toml(value: object) -> str:
    # JSON's strings, numbers and booleans are TOML's, except for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _long(text: str) -> str:
    """Return a text as TOML's string of several lines, in which it can be read."""
    lines = (_toml(line)[1:-1] for line in text.split("\n"))
    # Single quotation marks need no backslash there.
    escaped = "\n".join(line if '\\"\\"' in line else line.replace('\\"', '"') for line in lines)
    return f'"""\n{escaped}"""'


def _read_root(root: Table) -> Card | None:
    """Return the card if no value is wrong; problems are added to the table."""
    root.integer("format", None, 1, FORMAT)
    release = root.text("release", None, _RELEASE, "a release such as 0.1.0")
    if release and _number(release) > _number(__version__):
        root.problem(
            "release",
            f"{show(release)} is newer than this Pi's release {__version__}; flash an image of {release}, "
            "or make the card with this release's playbooks",
        )
    host = root.text("host", None, _NAME, "the Pi's name in the inventory")
    replaces = root.text("replaces", "", re.compile(f"(?:{_NAME.pattern})?"), "a name in the inventory")
    timezone = root.text("timezone", None, _ZONE, "a time zone such as Europe/Berlin")
    firewall = _texts(root, "firewall")
    login = root.table("login")
    user = login.text("user", None, _USER, "the user that Ansible logs in as")
    sudo_asks = login.boolean("sudo_asks", True, "true if sudo asks for a password")
    keys = _texts(login, "keys")
    for number, key in enumerate(keys):
        if not _KEY.match(key):
            message = f"{show(key)} is not a public SSH key; give a line of a .pub file"
            login.problems.append(Problem(NAME, f"{login.key('keys')}[{number}]", message))
    login.close()
    secrets = _read_secrets(root.table("secrets"))
    files = _read_files(root.table("files"))
    root.close()
    if root.problems:
        return None
    return Card(
        host=host or "",
        release=release or "",
        replaces=replaces or "",
        timezone=timezone or "",
        user=user or "",
        sudo_asks=bool(sudo_asks),
        keys=tuple(keys),
        firewall=tuple(firewall),
        files=files,
        secrets=secrets,
    )


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _texts(table: Table, name: str) -> list[str]:
    values = table.listing(name, "a list of texts")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            message = f"{show(value)} is not a string; {MAKE_AGAIN}"
            table.problems.append(Problem(NAME, f"{table.key(name)}[{number}]", message))
    return [value for value in values if isinstance(value, str)]


def _read_secrets(table: Table) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, pattern in ((PASSPHRASE, re.compile(r"[^\x00-\x1f\x7f]{8,200}\Z")), (PASSWORD, _HASH)):
        value = table.anything(name)
        if value is None:
            continue
        # The message must not show the value.
        if not isinstance(value, str) or not pattern.match(value):
            table.problem(name, f"can't be used (its value is not shown); {MAKE_AGAIN}")
        else:
            found[name] = value
    table.close()
    return found


def _read_files(table: Table) -> dict[str, str]:
    found: dict[str, str] = {}
    for place in PLACES:
        value = table.anything(place.key)
        if value is None:
            if not place.optional:
                table.problem(place.key, f"is missing; {MAKE_AGAIN}")
        elif not isinstance(value, str):
            table.problem(place.key, f"{show(value)} is not a string; {MAKE_AGAIN}")
        elif _CONTROL.search(value) or not value.endswith("\n"):
            table.problem(place.key, f"is not lines of text; {MAKE_AGAIN}")
        else:
            found[place.key] = value
    table.close()
    return found
