"""The service in a thread of the test's process: many clients, odd segments, and its end."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from smart_meter.config import Config, JournalConfig, ServerConfig
from smart_meter.meters.statistics import Statistics
from smart_meter.net.listen import bind
from smart_meter.runtime import service as service_module
from smart_meter.runtime.service import Options, Service
from tests.unit.wire import SAMPLE_REGISTERS, answer, read, wire, write

PATIENCE = 20.0
CROWDED = Config(server=ServerConfig(max_connections_per_client=1000))
"""All clients have the same address."""
WRITTEN = wire("0001 0000 0006 01 10 0000 0008")


class Running:
    """A running service and its clients."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.port = service.port
        self._thread = threading.Thread(target=service.run, kwargs={"signals": False})
        self._thread.start()
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Block the service's event loop during the block."""
        held, resume = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            resume.wait(PATIENCE)

        self.service.post(hold)
        assert held.wait(PATIENCE)
        yield
        resume.set()

    async def end(self) -> float:
        """Stop the service; return how many seconds that took."""
        started = time.monotonic()
        if self._thread.is_alive():
            self.service.stop()
        await asyncio.to_thread(self._thread.join, PATIENCE)
        assert not self._thread.is_alive()
        return time.monotonic() - started

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await self.end()


class CountingSink:
    """Records how many reads were served before the last sample."""

    backlog = 0

    def __init__(self, totals: Statistics) -> None:
        self.totals = totals
        self.served_before = -1

    def record(self, *_: object) -> int:
        self.served_before = self.totals.served
        return 1

    def stored_up_to(self, _: int) -> bool:
        return True


@asynccontextmanager
async def running(config: Config = CROWDED) -> AsyncIterator[Running]:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    served = Running(Service(config, bind("127.0.0.1", 0), Options(trial=True, output=nowhere)))
    try:
        yield served
    finally:
        await served.close()
        os.close(nowhere)


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    descriptors = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(os.readlink(path).startswith("socket:") for path in descriptors)


async def receive(reader: asyncio.StreamReader, size: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(size), PATIENCE)


async def test_a_written_sample_can_be_read() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        writer.write(write(0))
        assert await receive(reader, 12) == WRITTEN
        writer.write(read(0, 8))
        assert await receive(reader, 25) == answer(1, SAMPLE_REGISTERS)


async def test_a_thousand_requests_at_once_get_a_thousand_replies_in_order() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        requests = [number.to_bytes(2) + read(0, 8)[2:] for number in range(1000)]
        writer.write(b"".join(requests))
        replies = await receive(reader, 25 * 1000)
        assert [int.from_bytes(replies[i : i + 2]) for i in range(0, len(replies), 25)] == list(range(1000))


async def test_a_request_in_many_segments_gets_one_reply() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = read(0, 8)
        for byte in request:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        writer.write(read(0, 1))
        assert await receive(reader, 25 + 11) == answer(1, (0,) * 8) + answer(1, (0,))


async def test_two_hundred_clients_are_served_concurrently() -> None:
    async with running() as served:
        clients = await asyncio.gather(*(served.connect() for _ in range(200)))

        async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
            replies = []
            for _ in range(20):
                writer.write(read(0, 8))
                replies.append(await receive(reader, 25))
            return replies

        replies = await asyncio.gather(*(exchange(*client) for client in clients))
        assert replies == [[answer(1, (0,) * 8)] * 20] * 200
        totals = served.service.concentrator.statistics
        assert (totals.open_connections, totals.served) == (200, 4000)


@pytest.mark.parametrize("bad", ["0001 0001 0006 01 03 0000 0008", "0001 0000 0001 01", "0001 0000 00ff 01"])
async def test_a_bad_frame_closes_only_its_own_connection(bad: str) -> None:
    async with running() as served:
        reader, writer = await served.connect()
        other_reader, other_writer = await served.connect()
        writer.write(read(0, 1) + wire(bad))
        assert await asyncio.wait_for(reader.read(), PATIENCE) == answer(1, (0,))
        other_writer.write(read(0, 1))
        assert await receive(other_reader, 11) == answer(1, (0,))
        totals = served.service.concentrator.statistics
        assert (totals.bad_frames, totals.open_connections) == (1, 1)


async def test_a_client_that_does_not_read_is_held_back_and_gets_all_replies_later() -> None:
    async with running() as served:
        client = socket.create_connection(("127.0.0.1", served.port))
        client.setblocking(False)
        request = read(0, 8) * 100
        sent = 0
        with client:
            # The kernel's buffers and ours are full when nothing is accepted for a while.
            idle_since = time.monotonic()
            while time.monotonic() - idle_since < 0.3:
                try:
                    sent += client.send(request[sent % len(request) :])
                    idle_since = time.monotonic()
                except BlockingIOError:
                    await asyncio.sleep(0.01)
            held_back = served.service.concentrator.statistics.served
            assert sent // 12 > held_back
            received = 0
            while received < sent // 12 * 25:
                received += len(await asyncio.get_running_loop().sock_recv(client, 1 << 20))
            assert received == sent // 12 * 25
            assert served.service.concentrator.statistics.served == sent // 12 > held_back


async def test_a_client_with_thousands_of_requests_does_not_delay_another_client() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        other_reader, other_writer = await served.connect()
        crowd = 5000
        totals = served.service.concentrator.statistics
        sink = CountingSink(totals)
        served.service.concentrator.use_sink(sink, durable=False)
        # Both are in the kernel's buffers before the service reads.
        with served.paused():
            os.write(writer.get_extra_info("socket").fileno(), read(0, 1) * crowd)
            os.write(other_writer.get_extra_info("socket").fileno(), write(0))
        assert await receive(other_reader, 12) == WRITTEN
        assert len(await receive(reader, 11 * crowd)) == 11 * crowd
        assert sink.served_before < crowd // 2
        assert totals.served == crowd


async def test_at_the_end_idle_connections_are_closed_quickly() -> None:
    async with running() as served:
        clients = [await served.connect() for _ in range(50)]
        seconds = 0.0

        async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            rest = await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            return rest

        ends = asyncio.gather(*(wait_for_the_end(*client) for client in clients))
        seconds = await served.end()
        assert await ends == [b""] * 50
        assert seconds < 2


async def test_at_the_end_a_partly_received_request_is_answered() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        writer.write(write(0) + read(0, 8)[:7])
        assert await receive(reader, 12) == WRITTEN
        end = asyncio.create_task(served.end())
        await asyncio.sleep(0.1)
        writer.write(read(0, 8)[7:] + read(0, 8))
        assert await asyncio.wait_for(reader.read(), PATIENCE) in (
            answer(1, SAMPLE_REGISTERS),
            answer(1, SAMPLE_REGISTERS) * 2,
        )
        writer.close()
        assert await end < 2


async def test_at_the_end_a_client_that_has_just_connected_is_answered_once() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        end = asyncio.create_task(served.end())
        # When the port is closed, the service is ending.
        await closed(served.port)
        writer.write(read(0, 8))
        assert await asyncio.wait_for(reader.read(), PATIENCE) == answer(1, (0,) * 8)
        writer.close()
        assert await end < 2


async def closed(port: int) -> None:
    """Wait until the port is closed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.transport.abort()
        await asyncio.sleep(0.01)
    raise AssertionError(f"port {port} is open after {PATIENCE} s")


async def test_at_the_end_requests_in_the_kernels_buffers_are_answered() -> None:
    async with running() as served:
        reader, writer = await served.connect()
        writer.write(read(0, 1))
        await receive(reader, 11)
        # The requests and the stop arrive before the service reads.
        with served.paused():
            os.write(writer.get_extra_info("socket").fileno(), read(0, 8) * 50)
            served.service.stop()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == answer(1, (0,) * 8) * 50


@pytest.mark.parametrize("reads", [True, False], ids=["idle", "not reading"])
async def test_a_client_that_never_closes_does_not_delay_the_end_for_long(reads: bool) -> None:
    async with running() as served:
        before = open_sockets()
        _, writer = await served.connect()
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a stream can
            writer.write(read(0, 8) * 100_000)
        await asyncio.sleep(0.2)
        assert await served.end() < 2
        # The client has not closed its end: the numbers are equal once the service has closed all sockets.
        deadline = time.monotonic() + PATIENCE
        while open_sockets() != before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


IDLE, SERVED, NOT_READING, MID_FRAME, RELOADED = "idle", "served", "not reading", "mid-frame", "reloaded"


@pytest.mark.parametrize("shared", [False, True], ids=["own socket", "systemd's socket"])
@pytest.mark.parametrize("client", [IDLE, SERVED, NOT_READING, MID_FRAME, RELOADED])
async def test_timers_do_not_use_closed_sockets_while_the_service_ends(
    client: str, shared: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Each timer expires many times between the closing of the listening socket and of the last connection.
    monkeypatch.setattr(service_module, "STATUS_SECONDS", 0.01)
    monkeypatch.setattr(service_module, "_TICK_SECONDS", 0.01)
    journal = tmp_path / "journal"
    config = tmp_path / "config.toml"
    config.write_text("")
    with journal.open("wb") as output:
        options = Options(
            trial=True, output=output.fileno(), source=config, shared=shared, runtime=tmp_path, adapt=fast
        )
        listening = bind("127.0.0.1", 0)
        served = Running(Service(fast(Config()), listening, options))
        reader, writer = await served.connect()
        if client in (SERVED, MID_FRAME):
            writer.write(read(0, 1))
            await receive(reader, 11)
        if client == MID_FRAME:
            writer.write(read(0, 1)[:7])
        if client == NOT_READING:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a stream can
            writer.write(read(0, 8) * 100_000)
            await asyncio.sleep(0.1)
        if client == RELOADED:
            served.service.reload()
        # The client never closes its connection, so the end takes as long as possible.
        await served.end()
        writer.transport.abort()
    printed = journal.read_text()
    assert "[UNEXPECTED]" not in printed
    assert printed.splitlines()[-1].startswith("[STATS] Stopped | ")


def fast(config: Config) -> Config:
    """Make the service log its totals many times while it ends."""
    return config._replace(journal=JournalConfig(statistics_interval=0.01))


async def test_no_new_client_is_accepted_after_the_end() -> None:
    async with running() as served:
        await served.end()
        with pytest.raises(ConnectionRefusedError):
            await served.connect()


async def test_with_the_host_set_to_all_ipv6_addresses_it_also_serves_ipv4_clients() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    service = Service(
        Config(server=ServerConfig("::", 0)), bind("::", 0), Options(trial=True, output=nowhere)
    )
    served = Running(service)
    for host in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(host, served.port)
        writer.write(read(0, 1))
        assert await receive(reader, 11) == answer(1, (0,))
        writer.close()
    await served.end()
    os.close(nowhere)
