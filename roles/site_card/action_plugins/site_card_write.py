"""Write a host's site card on the controller, from the texts that the roles would write on its Pi.

Arguments: folder; texts, by the paths of the roles' files; rules, as `ufw show added` prints them; timezone,
user, keys, password (that sudo asks for), sudo_asks, replaces; for people: site and zones. The card is
checked as the Pi will check it. Problems are printed: the task's result is hidden, since it has secrets.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

_REPOSITORY = Path(__file__).resolve().parents[3]
for _folder in (_REPOSITORY, _REPOSITORY / "src"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

from roles.site_card.sha512_crypt import sha512_crypt  # noqa: E402 - the path comes first.

from smart_meter import __version__  # noqa: E402
from smart_meter.config.toml_table import Problem  # noqa: E402
from smart_meter.site_card import keyfile  # noqa: E402
from smart_meter.site_card.card import (  # noqa: E402
    FORMAT,
    MAKE_AGAIN,
    NAME,
    PASSPHRASE,
    PASSWORD,
    Card,
    CardError,
    read,
    refused,
    render,
)
from smart_meter.site_card.checks import check  # noqa: E402
from smart_meter.site_card.places import BY_KEY, BY_PATH, NOT_ON_AN_IMAGE, OF_THE_IMAGE, PROFILES  # noqa: E402

_ROUNDS = 20_000
# The inventory's variables, by the card's keys.
_VARIABLES = {
    "login.keys": "site_card_keys",
    "login.user": "ansible_user",
    "replaces": "site_card_replaces",
    "secrets.password": "ansible_become_password",
    "timezone": "appliance_timezone",
}
_COPIES = frozenset(place.copy for place in BY_PATH.values() if place.copy)


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible ships no type information.
    """The action `site_card_write`."""

    _VALID_ARGS = frozenset(
        {
            *("folder", "texts", "rules", "timezone", "user", "keys", "password"),
            *("sudo_asks", "replaces", "site", "zones"),
        }
    )
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the card; fail if the Pi would refuse it."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        host = str((task_vars or {})["inventory_hostname"])
        arguments = self._task.args
        try:
            text = _text(host, arguments)
        except CardError as error:
            for problem in error.problems:
                self._display.error(f"{host}: {_shown(problem)}", wrap_text=False)
            return {**result, "failed": True, "msg": f"{host}: there is no site card"}
        if self._task.check_mode:
            return result
        return {**result, "changed": _write(Path(arguments["folder"]), text)}


def _text(host: str, arguments: Mapping[str, Any]) -> str:
    """Return the card's text. Raises CardError."""
    files, secrets = _files({str(path): str(text) for path, text in arguments["texts"].items()})
    if arguments["sudo_asks"] and not arguments["password"]:
        raise refused("secrets.password", "is missing, and sudo asks for it (preflight_sudo_asks)")
    if arguments["password"]:
        secrets[PASSWORD] = _hash(str(arguments["password"]), host)
    card = Card(
        host=host,
        release=__version__,
        timezone=str(arguments["timezone"]),
        user=str(arguments["user"]),
        sudo_asks=bool(arguments["sudo_asks"]),
        keys=tuple(str(key).strip() for key in arguments["keys"]),
        firewall=tuple(str(rule) for rule in arguments["rules"]),
        files=files,
        replaces=str(arguments["replaces"]),
        secrets=secrets,
    )
    text = render(card, _head(host, arguments, card))
    check(read(text.encode()))
    return text


def _shown(problem: Problem) -> str:
    """Return a problem, named by the variable of the inventory that has to be changed."""
    message = problem.message.removesuffix(f"; {MAKE_AGAIN}")
    key = problem.key.partition("[")[0]
    return f"{_VARIABLES[key]}: {message}" if key in _VARIABLES else f"{problem.key}: {message}"


def _files(texts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts by the card's keys, and the passphrase apart from them."""
    found: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for path, text in texts.items():
        if path in _COPIES or path in OF_THE_IMAGE or path in NOT_ON_AN_IMAGE:
            continue
        # A file without a place would make the Pi differ from its inventory.
        found[BY_PATH[path].key] = text
    for key in PROFILES.values():
        if passphrase := keyfile.passphrase_of(found[key]):
            secrets[PASSPHRASE] = passphrase
            found[key] = keyfile.without_passphrase(found[key])
    return {key: found[key] for key in BY_KEY if key in found}, secrets


def _hash(password: str, host: str) -> str:
    # The same password makes the same card, so the salt is of the host. It need not be a secret.
    salt = hashlib.sha256(f"site card of {host}".encode()).hexdigest()[:16]
    return sha512_crypt(password, salt, _ROUNDS)


def _head(host: str, arguments: Mapping[str, Any], card: Card) -> list[str]:
    """Return what people read first."""
    field, control = arguments["zones"]
    site = f" (site {arguments['site']})" if arguments["site"] else ""
    replaces = [f"  replaces       {card.replaces}"] if card.replaces else []
    return [
        f"The site card of {host}{site}, for the boot partition of a Smart Meter image.",
        "",
        f"  file           {NAME}",
        f"  image          release {__version__} or newer (format {FORMAT})",
        f"  field zone     {field}",
        f"  control zone   {control}",
        f"  SSH            {card.user}; public keys: {len(card.keys)}",
        *replaces,
        "",
        "The Pi applies it at its next start, once, and then removes passphrase and password from it.",
        "Don't edit it, the Pi would refuse it. Change the inventory and make the card again.",
    ]


def _write(folder: Path, text: str) -> bool:
    """Write the card with its owner's permissions only; return whether it is another one."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    path, new = folder / NAME, folder / f".{NAME}.new"
    with suppress(OSError):
        if path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o077 == 0:
            return False
    with suppress(FileNotFoundError):
        new.unlink()
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)
    return True
