"""Wires the rooms together: start, run, stop, signals, systemd."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from smart_meter.concentrator import Concentrator
from smart_meter.config import Config, ZoneConfig
from smart_meter.journal import Journal
from smart_meter.listen import bind, has_address
from smart_meter.modbus.server import Server
from smart_meter.notify import Notifier
from smart_meter.telemetry import Listening

STATUS_SECONDS = 3.0
_FLUSH_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to the configuration."""

    trial: bool = False
    output: int = 1
    """File descriptor of the journal."""


class Service:
    """The concentrator as a process: `await Service(config).run()` serves until a signal or `stop()`."""

    def __init__(
        self, config: Config, sock: socket.socket | None = None, options: Options | None = None
    ) -> None:
        """`sock` is bound and listening already; without one, the configured address is bound.

        Raises ListenError where the address can't be bound.
        """
        self.config = config
        self._options = options or Options()
        self._socket = sock if sock is not None else bind(config.server.host, config.server.port)
        self._journal = Journal(self._options.output, self._tell_lost)
        self.concentrator = Concentrator(
            config, self._journal.tell, time.monotonic, time.time, trial=self._options.trial
        )
        self._server = Server(self.concentrator.admit)
        self._notifier = Notifier(os.environ)
        self._stopped = asyncio.Event()
        self._absent: set[ZoneConfig] = set()

    @property
    def port(self) -> int:
        """Return the port that the service listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stopped.set()

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop()`; then answer what has arrived, close, tell the totals."""
        concentrator = self.concentrator
        host, port = self._socket.getsockname()[:2]
        concentrator.tell(concentrator.lines.start(Listening(host, port, self._options.trial)))
        self._check_addresses()
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.set_exception_handler(self._unexpected)
        await self._server.start(self._socket)
        self._notifier.ready()
        self._tell_status()
        tasks = [asyncio.create_task(_every(STATUS_SECONDS, self._tell_status))]
        if self.config.journal.statistics_interval > 0:
            interval = self.config.journal.statistics_interval
            tasks.append(asyncio.create_task(_every(interval, self._tell_statistics)))
        if self._notifier.watchdog_interval is not None:
            tasks.append(asyncio.create_task(_every(self._notifier.watchdog_interval, self._notifier.alive)))
        try:
            await self._stopped.wait()
        finally:
            self._notifier.stopping()
            await self._server.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for number in (*signals, signal.SIGHUP):
                loop.remove_signal_handler(number)
            totals = concentrator.statistics
            concentrator.tell(concentrator.lines.statistics(totals, concentrator.age(), final=True))
            self._notifier.close()
            self._journal.flush(_FLUSH_SECONDS)

    def _tell_lost(self, count: int) -> str:
        return self.concentrator.lines.lost(count)

    def _tell_statistics(self) -> None:
        concentrator = self.concentrator
        age = concentrator.age()
        concentrator.tell(concentrator.lines.statistics(concentrator.statistics, age, final=False))
        self._check_addresses()

    def _tell_status(self) -> None:
        totals = self.concentrator.statistics
        self._notifier.status(
            f"Received {totals.received}, served {totals.served}, refused {totals.refused}, "
            f"{totals.open_connections} connections"
        )

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Such as no descriptor left for a new connection: the connections there are go on.
        error = context.get("exception")
        text = (
            f"[UNEXPECTED] {context.get('message')}: {error!r}"
            if error
            else f"[UNEXPECTED] {context.get('message')}"
        )
        self.concentrator.tell(self.concentrator.lines.notice(text))

    def _hang_up(self) -> None:
        self.concentrator.tell(
            self.concentrator.lines.notice(
                "SIGHUP: the configuration is read at start alone; restart for a new one"
            )
        )

    def _check_addresses(self) -> None:
        # With one address alone to listen on, the others need not be there.
        if not ip_address(self._socket.getsockname()[0]).is_unspecified:
            return
        for zone in self.config.zones:
            present = has_address(str(zone.address))
            if present is (zone in self._absent):
                self._absent ^= {zone}
                self.concentrator.tell(self.concentrator.lines.address(zone, present=present))


async def _every(seconds: float, action: Callable[[], None]) -> None:
    """Act each so many seconds, without drift."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += seconds
        await asyncio.sleep(max(0.0, due - loop.time()))
        action()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where uvloop is installed, else None for asyncio's own."""
    try:
        loop: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").Loop
    except ImportError:
        return None
    return loop


def serve(config: Config, options: Options) -> None:
    """Run the service until a signal ends it. Raises ListenError where the port can't be had."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(config, options))


async def _serve(config: Config, options: Options) -> None:
    await Service(config, options=options).run()
