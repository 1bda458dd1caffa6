"""What the service notes about itself in the audit trail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_meter import __version__
from smart_meter.concentrator.concentrator import Concentrator
from smart_meter.config import Config, EventsConfig, MeterConfig
from smart_meter.log.audit.kinds import Kind
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.runtime.auditing import Auditing
from tests.unit.log.audit.bench import rows

OTHER_MAP = RegisterMap((Measurement("P", 0),))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.db"
        self.source = folder / "config.toml"
        self.source.write_text("")
        self.wall = self.monotonic = 1000.0
        self.config = Config(events=EventsConfig(str(self.path)))
        self.logged: list[str] = []
        concentrator = Concentrator(self.config, self.logged.append, lambda: 0.0, lambda: 0.0)
        self.auditing = Auditing(concentrator, self.logged.append, lambda: self.monotonic, lambda: self.wall)

    def start(self) -> None:
        self.auditing.start(self.config, self.source, "127.0.0.1:502")

    def reload(self, config: Config) -> None:
        self.source.write_text("# changed")
        self.auditing.reloaded(self.config, config, self.source)
        self.config = config

    def stop(self) -> None:
        self.auditing.stop("SIGTERM", 20)

    def rows(self, path: Path | None = None) -> list[tuple[str, str, str]]:
        self.stop()
        return rows(path or self.path, "kind, text, detail")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stop()


def test_start_and_stop_are_noted_with_version_process_configuration_and_reason(bench: Bench) -> None:
    bench.start()
    start, stop = bench.rows()
    assert start[:2] == ("start", f"smart-meter {__version__} started")
    # sha256sum of an empty file.
    for part in ("process ", "configuration e3b0c44298fc", f"pv {PV_MAP.fingerprint}", "127.0.0.1:502"):
        assert part in start[2]
    assert stop[:2] == ("stop", f"smart-meter {__version__} stopped: SIGTERM")


def test_a_reload_is_noted_with_each_changed_map(bench: Bench) -> None:
    bench.start()
    meters = MeterConfig("pv", 1, OTHER_MAP), MeterConfig("new", 2, PV_MAP)
    bench.reload(bench.config._replace(meters=meters))
    bench.reload(bench.config._replace(meters=meters[1:]))
    bench.reload(bench.config)
    _, first, second, third, _ = bench.rows()
    assert first[0] == "reload"
    assert first[2].startswith("configuration e3b0c44298fc -> ")
    assert f"pv {PV_MAP.fingerprint} -> {OTHER_MAP.fingerprint}; new new -> {PV_MAP.fingerprint}" in first[2]
    assert f"pv {OTHER_MAP.fingerprint} -> removed" in second[2]
    assert third[2].endswith("maps as before")


def test_a_refused_reload_is_noted_with_its_first_problems(bench: Bench) -> None:
    bench.start()
    bench.auditing.refused([f"problem {number}" for number in range(8)])
    [refused] = [row for row in bench.rows() if row[0] == "reload-refused"]
    assert refused[2] == "problem 0; problem 1; problem 2; problem 3; problem 4; and 3 more"


def test_a_reload_switches_the_audit_trail_off_and_on_and_moves_it(bench: Bench, tmp_path: Path) -> None:
    off, elsewhere = EventsConfig(), EventsConfig(str(tmp_path / "other.db"))
    bench.start()
    bench.reload(bench.config._replace(events=off))
    bench.auditing.note(Kind.CLOCK, "while it is off")
    assert bench.auditing.state() is None
    bench.reload(bench.config._replace(events=elsewhere))
    assert [kind for kind, *_ in bench.rows()] == ["start", "reload", "stop"]
    others = bench.rows(tmp_path / "other.db")
    assert [kind for kind, *_ in others][:1] == ["start"]
    assert "goes on" in others[0][1]


def test_a_reload_changes_the_limits(bench: Bench) -> None:
    bench.start()
    changed = bench.config._replace(events=bench.config.events._replace(max_size_mib=2))
    bench.reload(changed)
    trail = bench.auditing._trail
    assert trail is not None
    assert trail.config == changed.events
    assert [kind for kind, *_ in bench.rows()] == ["start", "reload", "stop"]


def test_without_a_path_nothing_is_noted(bench: Bench) -> None:
    bench.config = Config()
    bench.start()
    bench.auditing.note(Kind.CLOCK, "x")
    bench.reload(bench.config)
    bench.stop()
    assert not bench.path.exists()


def test_a_step_of_the_clock_is_noted_and_slewing_is_not(bench: Bench) -> None:
    bench.start()
    for step in (0.0, 0.2, 3600.0, 0.0, -7.5):
        bench.wall += 1 + step
        bench.monotonic += 1
        bench.auditing.tick()
    steps = [row for row in bench.rows() if row[0] == "clock"]
    assert [text for _, text, _ in steps] == [
        "the clock was set forward by 3600.0 s",
        "the clock was set back by 7.5 s",
    ]
    assert steps[0][2].startswith("from 1970-01-01T00:16:43")


def test_what_the_history_notes_before_the_start_is_kept(bench: Bench) -> None:
    bench.auditing.note_of_history("quarantined", "the history: it is damaged; it was renamed", "x.damaged")
    bench.start()
    assert [kind for kind, *_ in bench.rows()] == ["start", "quarantined", "stop"]
