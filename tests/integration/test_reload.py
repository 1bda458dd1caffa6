"""A new configuration for the running program: it is applied without losing a connection, or refused."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.integration.program import Program, run
from tests.unit.wire import answer, read, wire, write

METER = '[[meters]]\nname = "pv"\nunit_id = 1\n'
VOLTAGE = METER + '[[meters.measurements]]\nname = "V_dc"\naddress = 0\nscale = {scale}\nunit = "V"\n'


class Site:
    """A program with a configuration file that can be changed."""

    def __init__(self, start: Callable[..., Program], folder: Path) -> None:
        self.config = folder / "config.toml"
        self.runtime = folder / "run"
        self.runtime.mkdir()
        self.write(VOLTAGE.format(scale=10))
        self.program = start(
            "run",
            "--trial",
            "--port",
            "0",
            "--config",
            str(self.config),
            extra={"RUNTIME_DIRECTORY": str(self.runtime)},
        )
        self.port = self.program.port()

    def write(self, text: str) -> None:
        self.config.write_text(text)

    def reload(self) -> CompletedProcess[str]:
        pid = str(self.program.process.pid)
        return run("reload", "--config", str(self.config), "--pid", pid, "--runtime", str(self.runtime))


@pytest.fixture
def site(start: Callable[..., Program], tmp_path: Path) -> Site:
    return Site(start, tmp_path)


def test_a_new_scale_applies_while_the_connection_stays_open_and_the_value_is_kept(site: Site) -> None:
    with site.program.connect() as opta:
        opta.ask(write(0, (485,)))
        site.write(VOLTAGE.format(scale=100))
        reloaded = site.reload()
        assert (reloaded.returncode, reloaded.stdout, reloaded.stderr) == (0, "", "")
        assert opta.ask(read(0, 1)) == answer(1, (4850,))
    site.program.wait_for(r"^\[RELOADED\] .*config\.toml$")
    assert (site.runtime / "config.toml").read_text() == site.config.read_text()
    assert site.program.stop()[0] == 0
    assert "Received: 1 | Served: 1" in site.program.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (METER + "unit = 3\n", 'meters[0].unit: is an unknown key; did you mean "unit_id"?'),
        ("no TOML at all", "is not TOML"),
    ],
)
def test_a_refused_configuration_leaves_the_running_one(site: Site, text: str, expected: str) -> None:
    with site.program.connect() as opta:
        opta.ask(write(0, (485,)))
        site.write(text)
        refused = site.reload()
        assert refused.returncode == 2
        assert expected in refused.stderr
        assert opta.ask(read(0, 1)) == answer(1, (485,))
        # Only the signal, without the command's check of the file.
        site.program.process.send_signal(1)
        site.program.wait_for(r"^\[NOT RELOADED\] the running configuration stays\n .*config.toml: ")
        assert opta.ask(read(0, 1)) == answer(1, (485,))


def test_an_open_connection_loses_access_to_a_removed_meter(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[server]\nhost = '127.0.0.1'\nport = 1502\n")
    runtime = tmp_path / "run"
    runtime.mkdir()
    program = start(
        "run",
        "--config",
        str(config),
        "--port",
        "0",
        extra={"RUNTIME_DIRECTORY": str(runtime)},
    )
    with program.connect() as client:
        assert client.ask(read(0, 8)) == answer(1, (0,) * 8)
        config.write_text(
            "[server]\nhost = '127.0.0.1'\nport = 1502\n"
            '[[meters]]\nname = "other"\nunit_id = 7\n[[meters]]\nname = "pv"\nunit_id = 8\n'
        )
        pid = str(program.process.pid)
        assert run("reload", "--config", str(config), "--pid", pid, "--runtime", str(runtime)).returncode == 0
        assert client.ask(read(0, 8)) == wire("0001 0000 0003 01 83 0b")
        assert client.ask(read(0, 8, unit=8)) == answer(8, (0,) * 8)


def test_a_missing_process_is_reported(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")
    gone = run("reload", "--config", str(config), "--pid", "4194303", "--runtime", str(tmp_path))
    assert gone.returncode == 1
    assert "can't signal process 4194303: No such process" in gone.stderr
