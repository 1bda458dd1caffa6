"""The history in a separate process: killed, with a full disk, read by another user."""

import csv
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.program import COMMAND, PATIENCE, SOURCE, environment
from tests.unit.history.bench import Bench, Hands, meter, registers

TESTS = SOURCE.parent
NOBODY = 65534


class Recording:
    """A process that records numbers. Its output is read line by line."""

    def __init__(
        self, path: Path, interval: float = 0, first: int = 0, count: int = 0, **keywords: Any
    ) -> None:
        arguments = [str(path), str(interval), str(first), str(count)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.recording", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
            env=environment({"PYTHONPATH": f"{SOURCE}:{TESTS}"}),
            **keywords,
        )
        assert self.process.stdout
        self._lines = self.process.stdout
        self.stored: list[int] = []
        self.messages: list[str] = []

    def until(self, condition: Callable[[], bool]) -> None:
        """Read what it prints until a condition holds."""
        while not condition():
            line = self._lines.readline()
            assert line, (self.messages, self.process.wait())
            self._take(line)

    def until_stored(self, count: int) -> None:
        self.until(lambda: len(self.stored) > count)

    def until_message(self, word: str) -> str:
        self.until(lambda: any(word in line for line in self.messages))
        return next(line for line in self.messages if word in line)

    def kill(self) -> None:
        """Kill the process, and read what it has printed."""
        self.process.send_signal(signal.SIGKILL)
        for line in self._lines:
            # The last line may be incomplete, which is not an acknowledgement.
            if line.endswith("\n"):
                self._take(line)
        self.process.wait()
        self._lines.close()

    def end(self) -> int:
        for line in self._lines:
            self._take(line)
        self._lines.close()
        return self.process.wait(PATIENCE)

    def _take(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if word == "stored":
            self.stored.append(int(rest))
        elif word != "refused":
            self.messages.append(line.strip())


@pytest.fixture
def record() -> Iterator[Callable[..., Recording]]:
    made: list[Recording] = []

    def start(*arguments: Any, **keywords: Any) -> Recording:
        made.append(Recording(*arguments, **keywords))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        if one.process.stdout:
            one.process.stdout.close()


Record = Callable[..., Recording]


def history(*arguments: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "history", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
        **keywords,
    )


def numbers(path: Path) -> list[int]:
    result = history("--path", str(path), "--format", "csv")
    assert result.returncode == 0, result.stderr
    return [int(row["n"]) for row in csv.DictReader(result.stdout.splitlines())]


def test_no_acknowledged_sample_is_lost_when_the_process_is_killed(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    first, acknowledged = 0, []
    for kill in range(8):
        one = record(path, first=first)
        one.until_stored(100 + 70 * kill)
        one.kill()
        acknowledged += one.stored
        kept = numbers(path)
        assert set(acknowledged) <= set(kept)
        assert kept == sorted(set(kept))
        first = kept[-1] + 1
    again = record(path, first=first, count=1)
    assert again.end() == 0
    assert again.messages == [f"restored {first - 1}"]


def test_a_file_that_can_not_grow_is_reported(record: Record, tmp_path: Path) -> None:
    limit = 200_000

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    one = record(tmp_path / "history.db", preexec_fn=limit_file_size)
    message = one.until_message("Modbus goes on; samples wait in memory until it can be written")
    assert "its disk fails to read or write" in message or "no space is left" in message
    one.kill()
    assert set(one.stored) <= set(numbers(tmp_path / "history.db"))


def test_the_memory_of_the_command_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak_memory(count: int) -> int:
        one = Bench(tmp_path / f"{count}.db", Hands(), commit_interval=3600)
        written = one.open([meter("m")])
        for number in range(count):
            one.record("m", registers(number))
            if number % 10_000 == 9999:
                one.wait(lambda: written._queue.head > number - 20_000)  # noqa: B023 - called here and now
        assert one.stop()
        assert written.lost == 0
        with Path(os.devnull).open("w") as nowhere:
            process = subprocess.Popen(
                [*COMMAND, "history", "--path", str(one.path), "--format", "json"],
                stdout=nowhere,
                env=environment(),
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    assert peak_memory(150_000) - peak_memory(10_000) < 4096


def test_a_history_read_during_writes_and_checkpoints_has_no_gaps(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    one = record(path)
    one.until_stored(1000)
    for _ in range(5):
        seen = len(one.stored)
        read = numbers(path)
        assert read == list(range(len(read)))
        assert len(read) >= seen
        one.until_stored(seen + 500)
    one.kill()


def test_a_reader_that_closes_the_pipe_ends_the_command_quietly(tmp_path: Path) -> None:
    one = Bench(tmp_path / "history.db", Hands())
    one.open([meter("m")])
    for number in range(20_000):
        one.record("m", registers(number))
    assert one.stop()
    command = " ".join(COMMAND)
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} history --path {one.path} | head -n 2"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (result.returncode, result.stderr, len(result.stdout.splitlines())) == (0, "", 2)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB, which tests can fill or make read-only."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "smart-meter-test", mounted], check=True)
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


@pytest.mark.pi
def test_a_full_disk_is_reported_and_recording_resumes_by_itself(record: Record, disk: Path) -> None:
    path = disk / "history.db"
    one = record(path)
    one.until_stored(100)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.strerror == "No space left on device"  # noqa: PT017 - the disk is full as intended
    assert one.until_message("samples wait") == (
        f"[HISTORY] {path}: no space is left on its disk; free some. "
        "Modbus goes on; samples wait in memory until it can be written"
    )
    seen = len(one.stored)
    ballast.unlink()
    one.until_message("recording again")
    one.until_stored(seen + 100)
    one.kill()
    kept = numbers(path)
    # Refused samples are stored too: they waited in memory.
    assert kept == list(range(len(kept)))
    assert set(one.stored) <= set(kept)
    assert list(disk.glob("*damaged*")) == []


@pytest.mark.pi
def test_a_read_only_disk_is_reported_and_recording_resumes_when_it_is_writable(
    record: Record, disk: Path
) -> None:
    path = disk / "history.db"
    assert record(path, count=10).end() == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert numbers(path) == list(range(10))
    one = record(path, interval=0, first=10)
    assert "it can't be written: its file system" in one.until_message("samples wait")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    one.until_message("recording again; no sample was lost")
    one.until_stored(100)
    one.kill()
    kept = numbers(path)
    assert kept == list(range(len(kept)))


@pytest.fixture
def nobodys(tmp_path: Path) -> Path:
    """A folder that belongs to another user, as the appliance's folder belongs to the service's user."""
    # Other users may not enter pytest's folders.
    folder = tmp_path
    while folder != folder.parent and folder.stat().st_uid == os.getuid():
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
        folder = folder.parent
    tmp_path.chmod(0o755)
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    os.chown(own, NOBODY, NOBODY)
    return own


AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "umask": 0o077}


@pytest.mark.pi
@pytest.mark.parametrize("state", ["running", "stopped", "killed", "killed without its shm"])
def test_root_can_read_without_leaving_files_that_the_service_could_not_open(
    state: str, record: Record, nobodys: Path
) -> None:
    path = nobodys / "history.db"
    if state == "stopped":
        one = record(path, count=200, **AS_NOBODY)
        assert one.end() == 0
    else:
        one = record(path, **AS_NOBODY)
        one.until_stored(200)
        if state != "running":
            one.kill()
            assert Path(f"{path}-wal").stat().st_size > 0
        if state.endswith("shm"):
            Path(f"{path}-shm").unlink()
    kept = numbers(path)
    assert len(kept) >= 200
    owners = {file.name: (file.stat().st_uid, file.stat().st_mode & 0o777) for file in nobodys.iterdir()}
    assert set(owners.values()) == {(NOBODY, 0o600)}
    if state == "running":
        one.until_stored(len(kept) + 100)
        one.kill()
    first = numbers(path)[-1] + 1
    again = record(path, first=first, count=50, **AS_NOBODY)
    assert again.end() == 0
    assert numbers(path) == list(range(first + 50))


@pytest.mark.pi
def test_a_user_without_permission_gets_an_error(record: Record, nobodys: Path) -> None:
    assert record(nobodys / "history.db", count=1, **AS_NOBODY).end() == 0
    result = history("--path", str(nobodys / "history.db"), user=12345, group=12345, extra_groups=[])
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"smart-meter: {nobodys}/history.db: this user may not read it; use sudo\n"


@pytest.mark.pi
def test_a_user_with_read_permission_can_read_unless_a_wal_prevents_it(record: Record, nobodys: Path) -> None:
    path = nobodys / "history.db"
    reader: dict[str, Any] = {"user": 12345, "group": 12345, "extra_groups": []}
    open_to_all = {**AS_NOBODY, "umask": 0o022}
    nobodys.chmod(0o755)
    assert record(path, count=10, **open_to_all).end() == 0
    assert len(history("--path", str(path), **reader).stdout.splitlines()) == 11
    one = record(path, first=10, **open_to_all)
    one.until_stored(100)
    assert len(history("--path", str(path), **reader).stdout.splitlines()) > 111
    one.kill()
    Path(f"{path}-shm").unlink()
    result = history("--path", str(path), **reader)
    assert result.returncode == 1
    assert "use sudo, or copy both files" in result.stderr
