"""The card's format: what is read, and what is refused with the key, the value and the fix."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace

import pytest

from smart_meter import __version__
from smart_meter.site_card.card import (
    MAX_BYTES,
    Card,
    CardError,
    canonical,
    identity,
    is_whole,
    read,
    render,
    without_secrets,
)
from tests.unit.site_card.sample import PASSPHRASE, PASSWORD, card, data, files


def summed(text: str) -> bytes:
    """Return a card's text with the right sum again."""
    body = text.rstrip("\n").rpartition("\n")[0] + "\n"
    return f"{body}# sha256 {hashlib.sha256(body.encode()).hexdigest()}\n".encode()


def replaced(old: str, new: str) -> bytes:
    text = data().decode()
    assert old in text
    return summed(text.replace(old, new, 1))


def problems(content: bytes) -> list[str]:
    with pytest.raises(CardError) as error:
        read(content)
    return [str(problem) for problem in error.value.problems]


def test_a_card_is_read_as_it_was_written() -> None:
    assert read(data()) == card()


def test_a_card_with_every_kind_of_character_is_read_as_it_was_written() -> None:
    texts = {"config": '# "quotes" """ \\ back\\nslash ü 電 \t tab\n' + files()["config"]}
    written = card(texts, replaces="pi-old", sudo_asks=False)

    assert read(render(written, ['head "of" \\ it', "", "[files]"]).encode()) == written


def test_its_texts_can_be_read_by_people() -> None:
    text = data().decode()

    assert "\nPasswordAuthentication no\n" in text
    assert text.startswith("# Site card of pi-north\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbf" + data(), ["a byte order mark"]),
        (data().replace(b"\n", b"\r\n"), ["the line ends of Windows (CRLF)"]),
        (data().replace(b"\n", b"\r\n", 1), ["the line ends of Windows (CRLF)"]),
        (
            b"\xef\xbb\xbf" + data().replace(b"\n", b"\r\n"),
            ["a byte order mark", "the line ends of Windows (CRLF)"],
        ),
    ],
)
def test_a_byte_order_mark_and_crlf_are_refused(content: bytes, expected: list[str]) -> None:
    with pytest.raises(CardError) as error:
        read(content)

    assert [problem.message.partition(",")[0] for problem in error.value.problems] == [
        f"has {each}" for each in expected
    ]
    assert "copy the card from the controller again, without opening it" in str(error.value)


def test_without_its_secrets_it_is_the_same_card() -> None:
    text = without_secrets(canonical(data()))

    assert PASSPHRASE not in tomllib.loads(text).get("secrets", {}).values()
    assert PASSWORD not in text
    assert is_whole(text)
    assert read(text.encode()).secrets == {}
    assert identity(read(text.encode())) == identity(card())
    assert without_secrets(text) == text


def test_only_the_lines_of_secrets_are_removed() -> None:
    changed = card({"config": "passphrase = 1\n" + files()["config"]})

    text = without_secrets(canonical(data(changed)))

    assert read(text.encode()).files == changed.files


@pytest.mark.parametrize(
    "other",
    [
        card({"host_name": "pi-other\n"}),
        card(host="pi-2"),
        card(replaces="pi-2"),
        card(timezone="Etc/UTC"),
        card(user="meter"),
        card(sudo_asks=False),
        card(keys=()),
        card(firewall=()),
    ],
)
def test_with_another_value_it_is_another_card(other: Card) -> None:
    assert identity(other) != identity(card())


def test_secrets_are_not_in_its_representation() -> None:
    assert PASSWORD not in repr(card())


@pytest.mark.parametrize("cut", [2, 10, 200, 2000])
def test_a_torn_card_is_refused(cut: int) -> None:
    [problem] = problems(data()[:-cut])

    assert "last line: is not the SHA-256 of the card: it was not copied completely, or was edited" in problem
    assert "make site-card" in problem


def test_a_line_more_or_less_at_the_end_is_no_damage() -> None:
    assert read(data() + b"\n") == card()
    assert read(data()[:-1]) == card()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.replace(b"192.168.1.100", b"192.168.1.101", 1),
        lambda content: content[:500] + bytes(512) + content[1012:],
        lambda content: b"",
        lambda content: content.replace(b"[files]", b"", 1),
    ],
)
def test_a_card_that_was_edited_or_damaged_is_refused(damage: Callable[[bytes], bytes]) -> None:
    [problem] = problems(damage(data()))

    assert "not the SHA-256" in problem


def test_a_card_that_is_not_text_is_refused() -> None:
    assert "byte 500: is not UTF-8" in problems(data()[:500] + b"\xff" + data()[500:])[0]


def test_a_card_that_is_too_large_is_refused() -> None:
    assert problems(b"#" * (MAX_BYTES + 1))[0].startswith("site-card.toml: is over 256 KiB long")


def test_a_card_of_a_newer_format_is_refused_as_such_whatever_else_it_has() -> None:
    [problem] = problems(b"format = 2\nunknown to us\n")

    assert "format: 2 is newer" in problem
    assert "flash a newer image" in problem


def test_a_card_of_a_newer_release_is_refused() -> None:
    major = int(__version__.partition(".")[0])
    newer = f"{major}.99.0"

    [problem] = problems(data(card(release=newer)))

    assert f'release: "{newer}" is newer than this Pi\'s release {__version__}' in problem
    assert read(data(card(release="0.0.9"))).release == "0.0.9"


def test_releases_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smart_meter.site_card.card.__version__", "0.9.0")

    assert "is newer" in problems(data(card(release="0.10.0")))[0]
    assert read(data(card(release="0.8.11"))).release == "0.8.11"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('host = "pi-north"', 'hots = "pi-north"', 'hots: is an unknown key; did you mean "host"?'),
        ('host = "pi-north"', "host = 7", "host: 7 is not a string; give the Pi's name in the inventory"),
        ('host = "pi-north"', 'host = "../x"', "host: \"../x\" can't be used; give the Pi's name"),
        ("sudo_asks = true", 'sudo_asks = "yes"', 'login.sudo_asks: "yes" is neither true nor false'),
        ('user = "pi"', 'user = "pi:0"', 'login.user: "pi:0" can\'t be used'),
        ("ssh-ed25519 AAAA", "command=x ssh-ed25519 AAAA", "login.keys[0]: "),
        ('timezone = "Europe/Berlin"', 'timezone = "../../x"', 'timezone: "../../x" can\'t be used'),
        (
            'passphrase = "',
            'pasphrase = "',
            'secrets.pasphrase: is an unknown key; did you mean "passphrase"?',
        ),
        ("[files]\n", '[files]\nshadow = "x"\n', "files.shadow: is an unknown key"),
        (
            "[files]\n",
            "[files]\nwatchdog_ = 3\n",
            'files.watchdog_: is an unknown key; did you mean "watchdog"?',
        ),
        ("firewall = [", "firewall = [7,", "firewall[0]: 7 is not a string"),
        ("format = 1", "format = true", "format: true is not an integer"),
    ],
)
def test_a_wrong_key_or_type_is_refused(old: str, new: str, expected: str) -> None:
    found = problems(replaced(old, new))

    assert any(f"site-card.toml: {expected}" in problem for problem in found), found


def test_a_wrong_secret_is_refused_without_its_value() -> None:
    secret = "".join(["hunter", "2"])

    found = problems(data(card(secrets={"passphrase": secret, "password": secret})))

    assert len(found) == 2
    assert secret not in " ".join(found)


def test_a_missing_text_is_refused_unless_a_card_may_leave_it_out() -> None:
    assert "files.config: is missing" in problems(data(card({"config": None})))[0]
    assert "watchdog" not in read(data(card({"watchdog": None}))).files


@pytest.mark.parametrize("text", ["no line end", "a\x00b\n", "a\rb\n", ""])
def test_a_text_that_is_not_lines_is_refused(text: str) -> None:
    assert "files.kernel: is not lines of text" in problems(data(card({"kernel": text})))[0]


def test_toml_that_is_broken_is_refused() -> None:
    assert "is not TOML" in problems(replaced("firewall = [", "firewall = [["))[0]


def test_every_problem_is_reported_at_once() -> None:
    found = problems(data(replace(card(host="a b", user="A"), keys=("x",))))

    assert [re.sub(r"^site-card.toml: ([^:]*):.*", r"\1", problem) for problem in found] == [
        "host",
        "login.user",
        "login.keys[0]",
    ]
