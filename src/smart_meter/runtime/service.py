"""Connects the rooms: start, run, reload, stop, signals, systemd."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config, ServerConfig, ZoneConfig
from smart_meter.log.formatter import Listening
from smart_meter.log.writer import LogWriter
from smart_meter.net.event_loop import EventLoop, Timer
from smart_meter.net.listen import bind, has_address
from smart_meter.net.server import Server
from smart_meter.net.timeouts import Limits
from smart_meter.registers.status_block import State
from smart_meter.runtime import state_file
from smart_meter.runtime.auditing import Auditing
from smart_meter.runtime.event_socket import EventSocket
from smart_meter.runtime.notify import Notifier
from smart_meter.runtime.recording import Recording
from smart_meter.runtime.reload import Reload

STATUS_SECONDS = 3.0
_TICK_SECONDS = 1.0
_FLUSH_SECONDS = 0.4
_STORE_SECONDS = 2.0
_EVENTS_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SWITCH_SECONDS = 0.0005
"""How long another thread may hold the interpreter while the event loop waits; Python's default is 5 ms."""


class Options(NamedTuple):
    """What the command line and the environment add to the configuration."""

    trial: bool = False
    output: int = 1
    """File descriptor that the log is written to."""
    source: Path | None = None
    """The configuration file, which is read again on SIGHUP."""
    adapt: Callable[[Config], Config] = lambda config: config
    """Applies the command line's options to a configuration."""
    shared: bool = False
    """Whether the socket belongs to systemd, which keeps it open when the service ends."""
    runtime: Path | None = None
    """Directory of the state file and the reload result: systemd's RuntimeDirectory."""


class Service:
    """The concentrator as a process: `Service(config).run()` serves until a signal or `stop()`."""

    def __init__(
        self, config: Config, sock: socket.socket | None = None, options: Options | None = None
    ) -> None:
        """sock: already bound and listening; None: the configured address is bound.

        Raises ListenError if the address can't be bound.
        """
        self.config = config
        self._options = options or Options()
        self._socket = sock if sock is not None else bind(config.server.host, config.server.port)
        # Read now: the socket is closed before the last connection.
        host, port = self._socket.getsockname()[:2]
        self.host: str = host
        """The address that the service listens on."""
        self.port: int = port
        self._log = LogWriter(self._options.output, self._format_lost)
        self._loop = EventLoop(self._unexpected)
        self.concentrator = Concentrator(
            config,
            self._log.write,
            self._loop.time,
            time.time,
            trial=self._options.trial,
            yield_to_sink=self._loop.yield_to_threads,
        )
        self._server = Server(self._loop, self.concentrator.admit, _limits(config.server), self._notice)
        self._auditing = Auditing(self.concentrator, self._notice_from_thread)
        self._recording = Recording(
            self.concentrator,
            self._notice_from_thread,
            self._committed,
            self._auditing.note_of_history,
            self._options.runtime,
        )
        self._events = EventSocket(
            self._loop, self._options.runtime, self._auditing.note_of_root, self._notice
        )
        self._notifier = Notifier(os.environ)
        self._freshness: Timer | None = None
        self._status: Timer | None = None
        self._statistics: Timer | None = None
        self._started = self._loop.time()
        self._stopping = False
        self._ended_by = "a call of stop()"
        """Why `run` returns: a signal's name, or a failure."""
        self._absent_zones: set[ZoneConfig] = set()

    def stop(self) -> None:
        """Make `run` return. Any thread may call it."""
        self._loop.post(self._begin_stop)

    def post(self, action: Callable[[], None]) -> None:
        """Run a function in the loop's thread, between requests. Any thread may call it."""
        self._loop.post(action)

    def reload(self) -> None:
        """Reload the configuration, as on SIGHUP. Any thread may call it."""
        self._loop.post(self._reload)

    def run(self, *, signals: bool = True) -> None:
        """Serve until SIGTERM, SIGINT or `stop()`; then answer what has arrived, close, and log the totals.

        signals: whether to handle this process's signals, which only the main thread can.
        """
        # Before anything that takes time: a signal that arrives meanwhile is handled once the loop runs.
        previous = self._handle_signals() if signals else None
        self._log.write(
            self.concentrator.formatter.start(Listening(self.host, self.port, self._options.trial))
        )
        self._check_addresses()
        self._restore()
        self._server.start(self._socket, shared=self._options.shared)
        # Before systemd runs ExecStartPost=, which sends events.
        self._events.start()
        self._notifier.ready()
        self._auditing.start(self.config, self._options.source, f"{self.host}:{self.port}")
        self._publish_state()
        self._start_timers()
        _tune_interpreter()
        try:
            self._loop.run()
        except BaseException as error:
            self._ended_by = f"failure: {error!r}"
            raise
        finally:
            self._notifier.stopping()
            if previous is not None:
                _restore_signals(*previous)
            self._end()

    def _start_timers(self) -> None:
        loop = self._loop
        loop.every(_TICK_SECONDS, self._tick)
        self._status = loop.every(STATUS_SECONDS, self._publish_state)
        if self._notifier.watchdog_interval is not None:
            loop.every(self._notifier.watchdog_interval, self._notifier.alive)
        self._start_configured_timers()

    def _start_configured_timers(self) -> None:
        for timer in (self._statistics, self._freshness):
            if timer is not None:
                timer.cancel()
        interval = self.config.journal.statistics_interval
        self._statistics = self._loop.every(interval, self._log_statistics) if interval > 0 else None
        self._check_freshness()

    def _restore(self) -> None:
        concentrator = self.concentrator
        self._recording.start(self.config)
        for meter in concentrator.meters:
            if meter.state is State.RESTORED:
                line = concentrator.formatter.state(meter.name, meter.state, meter.age(self._loop.now))
                self._log.write(line)

    def _handle_signals(self) -> tuple[int, list[object]]:
        handlers: list[object] = [
            signal.signal(number, lambda got, _: self._loop.post(lambda: self._end_by_signal(got)))
            for number in _SIGNALS[:2]
        ]
        handlers.append(signal.signal(signal.SIGHUP, lambda *_: self._loop.post(self._reload)))
        return signal.set_wakeup_fd(self._loop.wake_descriptor, warn_on_full_buffer=False), handlers

    def _end_by_signal(self, number: int) -> None:
        if not self._stopping:
            self._ended_by = signal.Signals(number).name
        self._begin_stop()

    def _begin_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            # Both report on a listening service. Samples, freshness and watchdog go on until the last client.
            for timer in (self._status, self._statistics):
                if timer is not None:
                    timer.cancel()
            self._server.stop(self._loop.stop)

    def _end(self) -> None:
        concentrator = self.concentrator
        concentrator.tick(final=True)
        self._events.close()
        self._recording.stop(_STORE_SECONDS)
        self._auditing.stop(self._ended_by, _EVENTS_SECONDS)
        self._loop.run_posted()
        self._recording.count(concentrator.statistics)
        self._log.write(
            concentrator.formatter.statistics(concentrator.statistics, concentrator.age(), final=True)
        )
        if self._options.runtime is not None:
            state_file.remove(self._options.runtime)
        self._notifier.close()
        self._log.flush(_FLUSH_SECONDS)
        self._loop.close()

    def _committed(self) -> None:
        """Send the replies that waited for the commit. The history's thread calls this."""
        self._loop.post(self._release_replies)

    def _release_replies(self) -> None:
        self.concentrator.review_backlog()
        self._server.release()

    def _reload(self) -> None:
        if self._stopping:
            return
        self._notifier.reloading(time.monotonic())
        reload = Reload(self._options.source, self._options.runtime, self._options.adapt)
        before = self.config
        config = reload.read(before)
        if config is not None:
            self._apply(config)
            self._auditing.reloaded(before, config, self._options.source)
        else:
            self._auditing.refused(reload.problems)
        self._notice(reload.text)
        reload.publish()
        self._notifier.ready()

    def _apply(self, config: Config) -> None:
        """Apply another configuration, and close the connections of clients that are in no zone now."""
        self.config = config
        self.concentrator.reconfigure(config)
        self._server.limits = _limits(config.server)
        self._recording.reconfigure(config)
        for connection in self._server.connections:
            if not connection.session.readmit():
                connection.abort()
        self._start_configured_timers()
        self._absent_zones = set()
        self._check_addresses()

    def _tick(self) -> None:
        self.concentrator.tick()
        self._recording.count(self.concentrator.statistics)
        self._auditing.tick()

    def _check_freshness(self) -> None:
        self.concentrator.check()
        wait = self.concentrator.next_check() - self._loop.now
        self._freshness = self._loop.after(wait, self._check_freshness) if wait < float("inf") else None

    def _format_lost(self, count: int) -> str:
        return self.concentrator.formatter.lost(count)

    def _log_statistics(self) -> None:
        concentrator = self.concentrator
        age = concentrator.age()
        self._log.write(concentrator.formatter.statistics(concentrator.statistics, age, final=False))
        self._check_addresses()

    def _publish_state(self) -> None:
        totals = self.concentrator.statistics
        self._notifier.status(
            f"Received {totals.received}, served {totals.served}, refused {totals.refused}, "
            f"{totals.open_connections} connections"
        )
        runtime = self._options.runtime
        if runtime is not None:
            state = state_file.record(
                self.concentrator,
                started=self._started,
                port=self.port,
                history=self._recording.state(),
                events=self._auditing.state(),
            )
            state_file.write(runtime, state)

    def _notice(self, text: str) -> None:
        self._log.write(self.concentrator.formatter.notice(text))

    def _notice_from_thread(self, text: str) -> None:
        """Log a text. Any thread may call it."""
        self._loop.post(lambda: self._notice(text))

    def _unexpected(self, error: BaseException) -> None:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f" ({Path(where.tb_frame.f_code.co_filename).name}, line {where.tb_lineno})" if where else ""
        self._notice(f"[UNEXPECTED] {error!r}{place}")

    def _check_addresses(self) -> None:
        # If the service listens on only one address, the other zones' addresses may be missing.
        if not ip_address(self.host).is_unspecified:
            return
        for zone in self.config.zones:
            present = has_address(str(zone.address))
            if present is (zone in self._absent_zones):
                self._absent_zones ^= {zone}
                self._log.write(self.concentrator.formatter.address(zone, present=present))


def _limits(server: ServerConfig) -> Limits:
    return Limits(
        server.max_connections, server.max_connections_per_client, server.idle_timeout, server.frame_timeout
    )


def _tune_interpreter() -> None:
    """Keep Python's thread switching and garbage collection from delaying replies."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    # The objects that exist now live forever; each collection would spend milliseconds on them.
    gc.freeze()


def _restore_signals(descriptor: int, handlers: list[object]) -> None:
    signal.set_wakeup_fd(descriptor)
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        signal.signal(number, handler)  # type: ignore[arg-type]  # signal.signal returned it


def serve(config: Config, options: Options, sock: socket.socket | None = None) -> None:
    """Run the service until a signal ends it. Raises ListenError if the port can't be bound."""
    Service(config, sock, options).run()
