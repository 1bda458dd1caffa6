"""Types of arguments: each function returns the value of a text, or raises ArgumentTypeError with the fix."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from ipaddress import ip_address

MAX_PID = 4 * 1024 * 1024  # include/linux/threads.h: PID_MAX_LIMIT
_MAX_DIGITS = 18
_MAX_SHOWN = 80


def parse_target(text: str) -> tuple[str, int]:
    """Return host and port of `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`."""
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        host = host if bracket else ""
        colon, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    if not host or colon not in ("", ":") or (colon and not port):
        raise argparse.ArgumentTypeError(f"{_cut(text)} is not a HOST or HOST:PORT")
    try:
        # The socket module encodes it so. RFC 1035, 2.3.4: a label has 1 to 63 octets.
        host.encode("idna")
    except UnicodeError:
        host = ""
    if not host.isprintable() or not host:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not an address or a host name, which has 1 to 63 letters between two dots; "
            "give for example 192.168.2.100"
        )
    number = parse_port(port) if port else 502
    if number == 0:
        raise argparse.ArgumentTypeError("port 0 can't be connected to; give 1 to 65535")
    return host, number


def parse_path(text: str) -> str:
    """Return a path."""
    if text and "\0" not in text:
        return text
    raise argparse.ArgumentTypeError(f"{_cut(text)} is not a path")


def parse_unit_id(text: str) -> int:
    """Return a unit identifier, 0 to 255."""
    number = _whole_number(text)
    if number is not None and number <= 255:
        return number
    raise argparse.ArgumentTypeError(f"{_cut(text)} is not a unit identifier; give 0 to 255")


def parse_count(text: str) -> int:
    """Return an integer from 1 on."""
    number = _whole_number(text)
    if number:
        return number
    raise argparse.ArgumentTypeError(f"{_cut(text)} is not a count; give 1 or more, of up to 18 digits")


def parse_pid(text: str) -> int:
    """Return a process identifier."""
    number = _whole_number(text)
    if number and number <= MAX_PID:
        return number
    raise argparse.ArgumentTypeError(f"{_cut(text)} is not a PID; give 1 to {MAX_PID}")


def parse_seed(text: str) -> int:
    """Return an integer of up to 18 digits."""
    number = _whole_number(text.removeprefix("-"))
    if number is not None:
        return -number if text.startswith("-") else number
    raise argparse.ArgumentTypeError(
        f"{_cut(text)} is not a whole number; give one of up to {_MAX_DIGITS} digits"
    )


def _whole_number(text: str) -> int | None:
    # Python refuses to convert thousands of digits.
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    return None


def _cut(text: str) -> str:
    """Return an argument in a form fit for a message: escaped, and shortened if it is long."""
    shown = repr(text)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[: _MAX_SHOWN - 1]}…"


def parse_positive(text: str) -> float:
    """Return a number above 0, up to a million."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1e6:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is out of range; give a number above 0, at most 1000000"
        )
    return number


def parse_time(text: str) -> datetime:
    """Return a time with its zone, from 1970 to 2106."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not 0 <= time.timestamp() < 2**32:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not a valid time; give one with its zone, such as 2016-01-01T06:00:00+00:00"
        )
    return time


def parse_since(text: str) -> datetime | timedelta:
    """Return a time with its zone, or a time span such as 24h."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    number, unit = text[:-1], text[-1:]
    if unit in units and number.isascii() and number.isdigit() and len(number) < 8:
        return timedelta(seconds=int(number) * units[unit])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not a valid time; give a span such as 30m, 24h or 7d, "
            "or a time with its zone, such as 2026-01-01T06:00:00+00:00"
        )
    return time


def parse_client(text: str) -> str:
    """Return a client of the audit trail: an address, or `*`."""
    try:
        return text if text == "*" else str(ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{_cut(text)} is not an address; give one such as 192.168.1.50"
        ) from None


def parse_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of events in a list that is separated by commas."""
    from smart_meter.log.audit.kinds import Kind  # noqa: PLC0415 - only if it is needed

    known = [kind.value for kind in Kind]
    kinds = tuple(part.strip() for part in text.split(","))
    for kind in kinds:
        if kind not in known:
            raise argparse.ArgumentTypeError(
                f"{_cut(kind)} is not a kind of event; give some of {', '.join(known)}"
            )
    return kinds


def parse_ip_address(text: str) -> str:
    """Return an address to listen on as `ipaddress` writes it."""
    # Only if it is needed: the configuration takes a good part of the start-up time of the other commands.
    from smart_meter.config.listen_address import listen_fault  # noqa: PLC0415

    fault = listen_fault(text)
    if fault:
        raise argparse.ArgumentTypeError(f"{_cut(text)} {fault}; give 0.0.0.0 for all of this machine's")
    return str(ip_address(text))


def parse_port(text: str) -> int:
    """Return a port, 0 to 65535."""
    number = _whole_number(text)
    if number is not None and number <= 65535:
        return number
    raise argparse.ArgumentTypeError(f"{_cut(text)} is not a port; give 0 to 65535")
