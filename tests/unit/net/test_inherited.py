"""The socket that systemd hands over: accepted if it is one TCP listener meant for us, else refused."""

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from smart_meter.net.listen import ListenError, inherited

PID = 4711
ONE = {"LISTEN_PID": str(PID), "LISTEN_FDS": "1"}

HandOver = Callable[[socket.socket], int]


@pytest.fixture
def hand_over() -> Iterator[HandOver]:
    """Return the number of a descriptor on a socket, as exec would leave it: inheritable."""
    given: list[int] = []

    def give(sock: socket.socket) -> int:
        number = os.dup(sock.fileno())
        os.set_inheritable(number, True)
        given.append(number)
        sock.close()
        return number

    yield give
    for number in given:
        os.close(number)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listening_socket_is_taken_over(hand_over: HandOver, family: socket.AddressFamily) -> None:
    listener = socket.socket(family)
    listener.listen()
    address = listener.getsockname()
    number = hand_over(listener)

    taken = inherited(ONE, PID, number)

    assert taken is not None
    assert (taken.fileno(), taken.getsockname(), taken.gettimeout()) == (number, address, 0.0)
    assert not taken.get_inheritable(), "no program that we start may get the port"
    taken.detach()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID + 1), "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID), "LISTEN_FDS": "0"},
    ],
)
def test_without_one_that_is_meant_for_this_process_there_is_none(environment: dict[str, str]) -> None:
    assert inherited(environment, PID, first=-1) is None


def test_the_environment_stays_as_it_is(hand_over: HandOver) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    environment = dict(ONE)

    taken = inherited(environment, PID, hand_over(listener))

    assert environment == ONE
    assert taken is not None
    taken.detach()


@pytest.mark.parametrize(
    ("count", "expected"),
    [("2", "2 sockets where one"), ("", "not a number"), ("-1", "not a number"), ("²", "not a number")],
)
def test_more_or_less_than_one_socket_is_refused(count: str, expected: str) -> None:
    with pytest.raises(ListenError, match=expected):
        inherited({**ONE, "LISTEN_FDS": count}, PID, first=-1)


@pytest.mark.parametrize(
    ("family", "kind", "expected"),
    [
        (socket.AF_UNIX, socket.SOCK_STREAM, "family AF_UNIX"),
        (socket.AF_INET, socket.SOCK_DGRAM, "type SOCK_DGRAM, protocol 17, which is not TCP"),
        (socket.AF_INET, socket.SOCK_STREAM, "a TCP socket that does not listen"),
    ],
)
def test_what_is_no_tcp_listener_is_refused_with_the_unit_to_look_at(
    hand_over: HandOver, family: socket.AddressFamily, kind: socket.SocketKind, expected: str
) -> None:
    number = hand_over(socket.socket(family, kind))

    with pytest.raises(ListenError) as refused:
        inherited(ONE, PID, number)

    assert expected in str(refused.value)
    assert "ListenStream=HOST:PORT and Accept=no; `systemctl cat smart-meter.socket`" in str(refused.value)
    os.fstat(number)  # raises where it was closed: it is not ours


def test_what_is_no_socket_is_refused() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(ListenError, match=f"descriptor {reading}, which is not a socket"):
            inherited(ONE, PID, reading)
    finally:
        os.close(reading)
        os.close(writing)
