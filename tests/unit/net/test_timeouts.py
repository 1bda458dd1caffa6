"""Connections that are idle, in mid-frame, or do not take their replies for too long."""

from tests.unit.net.house import LIMITS, WRITTEN, House, Recorder
from tests.unit.wire import read, wire, write


def test_an_idle_connection_is_closed_after_its_time_and_no_earlier() -> None:
    house = House(LIMITS._replace(idle=300))
    idle, busy = house.client("192.168.1.50"), house.client("192.168.2.10")
    house.loop.now += 299
    busy.send(read(0, 1))
    house.server.sweep()
    assert idle.socket.end is None
    house.loop.now += 2
    house.server.sweep()
    assert [idle.socket.end, busy.socket.end] == ["aborted", None]
    assert house.journal[-1] == "[CLOSED] ESP32 (192.168.1.50): it was idle for 300 s"


def test_with_no_idle_timeout_an_idle_connection_stays() -> None:
    house = House(LIMITS._replace(idle=0))
    idle = house.client("192.168.1.50")
    house.loop.now += 1e6
    house.server.sweep()
    assert idle.socket.end is None


def test_a_request_has_to_come_whole_in_its_time_however_slowly_its_bytes_drip() -> None:
    house = House(LIMITS._replace(frame=10))
    slow = house.client("192.168.1.50")
    for byte in read(0, 8)[:11]:
        slow.send(bytes([byte]))
        house.server.sweep()
        house.loop.now += 1
    assert slow.socket.ended == ""
    house.server.sweep()
    assert slow.socket.end == "aborted"
    assert "the rest of a request did not come within 10 s" in house.journal[-1]


def test_a_stream_that_is_always_cut_in_mid_request_is_no_slow_one() -> None:
    house = House(LIMITS._replace(frame=10))
    client = house.client("192.168.1.50")
    stream = read(0, 8) * 40
    for start in range(0, len(stream), 13):
        client.send(stream[start : start + 13])
        house.loop.now += 1
        house.server.sweep()
    assert client.socket.end is None


def test_a_client_that_takes_no_replies_is_closed_after_its_time() -> None:
    house = House(LIMITS._replace(frame=10))
    deaf = house.client("192.168.1.50")
    deaf.socket.room = 5
    deaf.send(read(0, 8))
    house.loop.now += 11
    house.server.sweep()
    assert deaf.socket.end == "aborted"
    assert "it did not take its replies within 10 s" in house.journal[-1]


def test_after_a_bad_frame_a_client_that_keeps_talking_is_closed_all_the_same() -> None:
    house = House()
    client = house.client("192.168.1.50")
    client.send(wire("0001 0001 0006 01 03 0000 0008"))
    for _ in range(10):
        house.loop.now += 0.1
        client.bring(read(0, 8))
        house.server.sweep()
    assert client.socket.end == "aborted"
    assert house.server.connections == []
    assert house.concentrator.statistics.open_connections == 0


def test_while_replies_are_held_a_client_is_not_idle() -> None:
    house = House(LIMITS._replace(idle=10))
    house.sink = Recorder()
    house.concentrator.use_sink(house.sink, durable=True)
    client = house.client("192.168.1.50")
    client.send(write(0))
    house.loop.now += 11
    house.server.sweep()
    assert client.socket.end is None
    house.sink.stored = 1
    house.server.release()
    assert client.received == WRITTEN
    house.server.sweep()
    assert client.socket.end == "aborted"
