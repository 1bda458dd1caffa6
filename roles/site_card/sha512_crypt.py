"""SHA-512 crypt, the `$6$` hash of /etc/shadow (https://www.akkadia.org/drepper/SHA-crypt.txt). Pure.

Python 3.13 has no module crypt, and Ansible's filter password_hash needs a package that is not among the
locked requirements.
"""

from __future__ import annotations

import hashlib

_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SIZE = 64


def sha512_crypt(password: str, salt: str, rounds: int) -> str:
    """Return the field of /etc/shadow. salt: up to 16 letters and digits. rounds: 1000 to 999999999."""
    key, seed = password.encode(), salt.encode()
    alternate = hashlib.sha512(key + seed + key).digest()
    first = hashlib.sha512(key + seed + _repeated(alternate, len(key)))
    length = len(key)
    while length:
        first.update(alternate if length & 1 else key)
        length >>= 1
    digest = first.digest()
    keys = _repeated(hashlib.sha512(key * len(key)).digest(), len(key))
    seeds = _repeated(hashlib.sha512(seed * (16 + digest[0])).digest(), len(seed))
    for number in range(rounds):
        part = hashlib.sha512(keys if number & 1 else digest)
        if number % 3:
            part.update(seeds)
        if number % 7:
            part.update(keys)
        part.update(digest if number & 1 else keys)
        digest = part.digest()
    return f"$6$rounds={rounds}${salt}${_encoded(digest)}"


def _repeated(digest: bytes, length: int) -> bytes:
    return (digest * (length // _SIZE + 1))[:length]


def _encoded(digest: bytes) -> str:
    """Return the digest in the alphabet and the order of bytes of crypt(5)."""
    text = ""
    a, b, c = 0, 21, 42
    for _ in range(21):
        text += _digits(digest[a] << 16 | digest[b] << 8 | digest[c], 4)
        a, b, c = b + 1, c + 1, a + 1
    return text + _digits(digest[63], 2)


def _digits(number: int, count: int) -> str:
    return "".join(_DIGITS[number >> 6 * place & 63] for place in range(count))
