"""Applies the card on the boot partition: whole, or not at all, and only once."""

from __future__ import annotations

import enum
import errno
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smart_meter.config.toml_table import show
from smart_meter.site_card import record as records
from smart_meter.site_card.boot_partition import ANSWER, BootPartition, is_full, misnamed
from smart_meter.site_card.card import (
    MAKE_AGAIN,
    NAME,
    PASSPHRASE,
    PASSWORD,
    Card,
    CardError,
    identity,
    read,
    refused,
)
from smart_meter.site_card.checks import check
from smart_meter.site_card.commands import Run
from smart_meter.site_card.places import BY_PATH, HOST_NAME
from smart_meter.site_card.record import Record
from smart_meter.site_card.staging import InTheWayError, Staging
from smart_meter.site_card.target import IMAGE_NAMES, Numbers, Target

LACKING = {
    PASSPHRASE: "neither the card nor the Pi has it, so the field zone has no Wi-Fi",
    PASSWORD: "neither the card nor the Pi has it, so nobody can use sudo",
}
"""What follows if a secret is on the card and on the Pi no longer, such as after the loss of the state."""


_REFUSED = "The site card was refused. The Pi keeps its settings."
_INCOMPLETE = "The site card could not be applied completely: some files are new."
_NONE = f"There is no {NAME} in this folder. The Pi keeps its settings."
_AGAIN = f"After that, put the new {NAME} in this folder and switch the Pi on again."
_NEW_CARD = "write a new memory card, and keep the old one: it has the samples."
_ONCE_MORE = f"Switch the Pi on once more. If it stays so, {_NEW_CARD}"
_FULL_STATE = f"The memory card has no room left for settings: {_NEW_CARD}"
_IN_THE_WAY = f"After that, switch the Pi on again: it applies this {NAME}."
_IN_MEMORY = (
    "The state partition can't be used: all changes are lost at the next restart. So the site card keeps its "
    "secrets, and is applied again at each start; replace the memory card, and make its site card again."
)
FULL = "The boot partition is full: delete what does not belong to the Pi."
_SHOWN = 5


class _IncompleteError(Exception):
    """Some files are in their places, and another could not be put there."""


class Result(enum.Enum):
    """The result of a start."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"
    APPLIED = "applied"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result, and lines for the journal. changed: the paths that are new."""

    result: Result
    lines: tuple[str, ...]
    changed: tuple[str, ...] = ()
    host_name: str = ""


def apply(folder: Path, root: Path, run: Run, numbers: Numbers | None = None) -> Outcome:
    """Apply the card in a folder, and write the answer beside it. Raises nothing that a card could cause."""
    partition = BootPartition(folder, run)
    target = Target(root, run, numbers)
    others = [*_misnamed(folder), *([FULL] if is_full(folder) else [])]
    try:
        data = partition.read()
        if data is None:
            return _absent(_misnamed(folder), partition)
        card = read(data)
        before = records.load(root)
        if before is not None and _is_applied(card, before) and target.keeps_changes():
            lines: tuple[str, ...] = (f"the card of {card.host} is applied already",)
            outcome, lacking = Outcome(Result.UNCHANGED, lines), records.still_lacking(before, root)
        else:
            outcome, lacking = _apply(card, before, root, target), target.lacking
    except CardError as error:
        return _refuse([*(str(problem) for problem in error.problems), *others], partition)
    except _IncompleteError as error:
        return _refuse([str(error), *others], partition, _INCOMPLETE, _ONCE_MORE)
    except InTheWayError as error:
        problem = f"{error}; move it away on the Pi, or flash the image again"
        return _refuse([problem, *others], partition, again=_IN_THE_WAY)
    except OSError as error:
        what = "the start" if error.errno == errno.ETIMEDOUT else error.filename or "the state partition"
        problem = f"{what}: {error.strerror}; nothing was changed"
        again = _FULL_STATE if error.errno == errno.ENOSPC else _ONCE_MORE
        return _refuse([problem, *others], partition, again=again)
    failures = []
    try:
        if target.keeps_changes():
            partition.remove_secrets(data)
        else:
            failures.append(_IN_MEMORY)
    except OSError as error:
        failures.append(
            f"the boot partition can't be written ({error.strerror}): the card may still have its secrets"
        )
    try:
        partition.answer([*_answer_applied(card, lacking, failures), *(["", *others] if others else [])])
    except OSError as error:
        failures.append(_not_up_to_date(error))
    return replace(outcome, lines=(*outcome.lines, *failures, *others))


def _absent(others: Sequence[str], partition: BootPartition) -> Outcome:
    if others:
        return _refuse(others, partition, _NONE, "After that, switch the Pi on again.")
    failures = []
    if partition.has_answer():
        # Its text was about a card that is gone.
        try:
            partition.answer(
                [_NONE, "", f"For other settings, put a new {NAME} in it and switch the Pi on again."]
            )
        except OSError as error:
            failures.append(_not_up_to_date(error))
    return Outcome(
        Result.ABSENT, (f"there is no {NAME} on the boot partition: the settings stay as they are", *failures)
    )


def _misnamed(folder: Path) -> list[str]:
    """Return a line about each file that is like a card and has another name."""
    names = misnamed(folder)
    lines = [f"{show(name)} {_fault_of_name(name)}" for name in names[:_SHOWN]]
    return lines if len(names) <= _SHOWN else [*lines, f"{len(names) - _SHOWN} more are not read either."]


def _fault_of_name(name: str) -> str:
    if name.endswith(f"/{NAME}"):
        return "is not read: it is in a folder. Move it out of the folder, or delete it."
    wanted = (
        f"is not read: the name has to be {NAME}. Rename it, or delete it if it is not the card of this Pi."
    )
    if name.casefold() == f"{NAME}.txt":
        return f'{wanted} Windows hides the ".txt": in the Explorer, switch on View > File name extensions.'
    return wanted


def _is_applied(card: Card, before: Record) -> bool:
    same = before.identity == identity(card)
    return same and all(before.has(name, secret) for name, secret in card.secrets.items())


def _apply(card: Card, before: Record | None, root: Path, target: Target) -> Outcome:
    _check_host(card, before, target)
    staging = target.prepare(check(card))
    changed = tuple(staging.changed)
    try:
        # Its room on the state partition is taken before the first file changes. It is the last in its place.
        record = _record(card, before, staging.digests, target.lacking)
        if not target.keeps_changes():
            # What an earlier start wrote will be back with the state partition. What this one writes is lost.
            kept = before is not None and _is_applied(card, before)
            record = replace(record, identity=record.identity if kept else "")
        staging.file(records.PATH, record.text().encode(), 0o600)
        if before is not None and before.identity:
            # After a power cut, no card counts as applied: the files are of both.
            staging.marker(records.PATH, replace(before, identity="").text().encode())
    except BaseException:
        staging.discard()
        target.discard()
        raise
    try:
        _put_in_place(staging)
    finally:
        staging.discard()
    name = card.files[HOST_NAME].strip()
    lines = [f"the card of {card.host} is applied; changes: {len(changed)}"]
    lines += [f"secrets.{lack}: {LACKING[lack]}" for lack in target.lacking]
    return Outcome(Result.APPLIED, tuple(lines), changed, name)


def _put_in_place(staging: Staging) -> None:
    try:
        staging.put_in_place()
    except OSError as error:
        raise _IncompleteError(
            f"{error.filename}: {error.strerror}; the next start applies the card again, or flash a new card"
        ) from None


def _record(card: Card, before: Record | None, digests: Mapping[str, str], lacking: Sequence[str]) -> Record:
    salt = secrets.token_hex(16) if before is None else before.salt
    kept = {} if before is None else dict(before.secrets)
    kept |= {name: records.digest(salt, secret) for name, secret in card.secrets.items()}
    # What doctor compares: files that the inventory manages, too.
    files = {
        path: value for path, value in digests.items() if path in BY_PATH or path.startswith("/etc/ufw/")
    }
    return Record(card.host, identity(card), time.time(), salt, kept, files, list(lacking))


def _check_host(card: Card, before: Record | None, target: Target) -> None:
    """Refuse another host's card, unless the Pi has no name yet or the card replaces its name."""
    name = target.host_name()
    if before is None and (name in IMAGE_NAMES or name == card.files[HOST_NAME].strip()):
        return
    present = name if before is None else before.host
    if present not in (card.host, card.replaces):
        raise refused(
            "host",
            f'"{card.host}" is another Pi: this one is {present}; put the card of {present} here, or make '
            f"one that replaces it (make site-card HOST={card.host} REPLACES={present})",
        )


def _refuse(
    problems: Sequence[str], partition: BootPartition, head: str = _REFUSED, again: str = _AGAIN
) -> Outcome:
    lines = [head, *problems]
    try:
        partition.answer([head, "", *problems, "", again])
    except OSError as error:
        lines.append(_not_up_to_date(error))
    return Outcome(Result.REFUSED, tuple(lines))


def _not_up_to_date(error: OSError) -> str:
    return f"the boot partition can't be written ({error.strerror}), so {ANSWER} is not up to date"


def _answer_applied(card: Card, lacking: Sequence[str], failures: Sequence[str]) -> list[str]:
    if lacking:
        lines = [
            f"The site card of {card.host} was applied, except for what needs these secrets:",
            "",
            *(
                f"{NAME}: secrets.{lack}: {LACKING[lack]}; {MAKE_AGAIN}"
                for lack in lacking
                if lack in LACKING
            ),
        ]
    else:
        lines = [f"The site card of {card.host} was applied."]
    removed = "Its passphrase and its password were removed from this folder; the Pi keeps them."
    return [*lines, "", *(failures or [removed])]
