"""Events that root adds: the real service, its socket and `smart-meter events`."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smart_meter.runtime.event_socket import NAME
from tests.integration.program import PATIENCE, Program, run
from tests.unit.wire import read

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may add events")

NOBODY = 65534


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory that others may enter, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def service(start: Callable[..., Program], runtime: Path) -> Program:
    program = start("run", "--trial", "--port", "0", extra={"RUNTIME_DIRECTORY": str(runtime)})
    program.port()
    return program


def noted(service: Program) -> list[str]:
    """Return the events that the service has got from root."""
    return [line.removeprefix("[EVENT] ") for line in service.out.splitlines() if line.startswith("[EVENT] ")]


def ask(runtime: Path, message: bytes) -> bytes:
    """Return the reply to a message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(runtime / NAME))
        client.settimeout(PATIENCE)
        client.send(message)
        return client.recv(1000)


def message(text: str) -> bytes:
    return json.dumps({"kind": "release", "text": text}).encode()


def test_the_service_takes_an_event_of_root(service: Program, runtime: Path) -> None:
    assert ask(runtime, message("from 1 to 2")) == b"ok"

    service.wait_for(r"^\[EVENT\] release \| from 1 to 2$")
    assert stat.S_IMODE((runtime / NAME).stat().st_mode) == 0o600
    assert service.stop()[0] == 0
    assert not (runtime / NAME).exists()


def test_a_killed_services_socket_is_replaced(
    service: Program, runtime: Path, start: Callable[..., Program]
) -> None:
    service.stop(signal.SIGKILL)
    assert (runtime / NAME).exists()

    start("run", "--trial", "--port", "0", extra={"RUNTIME_DIRECTORY": str(runtime)}).port()

    assert ask(runtime, message("again")) == b"ok"


CLIENT = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.settimeout(20)
try:
    client.connect(sys.argv[1])
    client.send(b'{"kind": "release", "text": "forged"}')
    print(client.recv(100))
except OSError as error:
    print(type(error).__name__)
"""


def as_nobody(runtime: Path) -> str:
    """Return what another user's client gets: its reply, or the name of its error."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", CLIENT, str(runtime / NAME)],
        capture_output=True,
        text=True,
        check=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    return done.stdout.strip()


def test_another_user_can_not_add_an_event(service: Program, runtime: Path) -> None:
    assert as_nobody(runtime) == "PermissionError"

    # The service's own user can connect, as the socket belongs to it; that does not help.
    os.chown(runtime / NAME, NOBODY, NOBODY)

    assert as_nobody(runtime) in ("b''", "ConnectionResetError", "BrokenPipeError")
    assert ask(runtime, message("by root")) == b"ok"
    service.wait_for(r"^\[EVENT\] release \| by root$")
    assert noted(service) == ["release | by root"]


def test_hostile_messages_do_not_disturb_modbus(service: Program, runtime: Path) -> None:
    chosen = random.Random(13)  # noqa: S311 - the same messages in each run
    with service.connect() as client:
        for _ in range(300):
            try:
                ask(runtime, chosen.randbytes(chosen.randrange(1, 4000)))
            except OSError:
                # More at once than the service accepts.
                continue
            assert len(client.ask(read(0, 8))) == 25
    assert noted(service) == []
    assert "[UNEXPECTED]" not in service.out


def events(runtime: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `smart-meter events` for a runtime directory."""
    return run("events", *arguments, "--runtime", str(runtime), "--waiting", str(runtime / "waiting"))


def test_the_command_adds_an_event(service: Program, runtime: Path) -> None:
    done = events(runtime, "add", "network", "the switch was replaced")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    service.wait_for(r"^\[EVENT\] network \| the switch was replaced$")


def test_an_event_from_before_the_start_is_sent_after_it(
    runtime: Path, start: Callable[..., Program]
) -> None:
    done = events(runtime, "add", "rollback", "network was not confirmed: rolled back")
    assert done.returncode == 0, done.stderr
    assert events(runtime, "send-waiting").returncode == 1

    service = start("run", "--trial", "--port", "0", extra={"RUNTIME_DIRECTORY": str(runtime)})
    service.port()

    assert events(runtime, "send-waiting").returncode == 0
    service.wait_for(r"^\[EVENT\] rollback \| network was not confirmed: rolled back")
    assert (runtime / "waiting").read_bytes() == b""
