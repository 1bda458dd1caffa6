"""SHA-512 crypt, held against the specification's own test vectors."""

from __future__ import annotations

import pytest
from roles.site_card.sha512_crypt import sha512_crypt


@pytest.mark.parametrize(
    ("password", "salt", "rounds", "expected"),
    [
        (
            "Hello world!",
            "saltstringsaltst",
            10000,
            "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        ),
        (
            "a very much longer text to encrypt.  This one even stretches over morethan one line.",
            "anotherlongsalts",
            1400,
            "POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
        ),
        (
            "a short string",
            "asaltof16chars..",
            123456,
            "BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1",
        ),
    ],
)
def test_the_vectors_of_the_specification(password: str, salt: str, rounds: int, expected: str) -> None:
    assert sha512_crypt(password, salt, rounds) == f"$6$rounds={rounds}${salt}${expected}"
