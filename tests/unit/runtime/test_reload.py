import json
from pathlib import Path

import pytest

from smart_meter.config import Config
from smart_meter.runtime.reload import Reload, read_result


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('name = "new"\n')
    return path


def same(config: Config) -> Config:
    return config


def test_a_valid_file_is_loaded_and_its_result_published(source: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    reload = Reload(source, runtime, same)
    config = reload.read(Config())
    assert config is not None
    assert config.name == "new"
    assert reload.text == f"[RELOADED] {source}"
    reload.publish()
    assert (runtime / "config.toml").read_text() == source.read_text()
    record = json.loads((runtime / "reload.json").read_text())
    assert read_result(runtime, record["pid"], record["at"]) == []
    assert read_result(runtime, record["pid"], record["at"] + 1) is None
    assert read_result(runtime, record["pid"] + 1, 0) is None


def test_an_invalid_file_changes_nothing_and_all_its_problems_are_reported(
    source: Path, tmp_path: Path
) -> None:
    source.write_text("name = 7\nwhat = 1\n")
    reload = Reload(source, tmp_path, same)
    assert reload.read(Config()) is None
    assert reload.text.splitlines()[0] == "[NOT RELOADED] the running configuration stays"
    assert [line.split(": ")[1] for line in reload.text.splitlines()[1:]] == ["name", "what"]
    reload.publish()
    assert not (tmp_path / ".config.toml").exists()
    record = json.loads((tmp_path / "reload.json").read_text())
    assert read_result(tmp_path, record["pid"], 0) == reload.problems


@pytest.mark.parametrize(("key", "value"), [("port", "503"), ("host", '"127.0.0.1"')])
def test_host_and_port_can_not_change_while_the_service_runs(source: Path, key: str, value: str) -> None:
    source.write_text(f"[server]\n{key} = {value}\n")
    reload = Reload(source, None, same)
    assert reload.read(Config()) is None
    [problem] = reload.problems
    assert f"server.{key}: can't change from" in problem
    assert problem.endswith("while the service runs; restart it")


def test_the_command_lines_options_are_applied_again(source: Path) -> None:
    def adapt(config: Config) -> Config:
        return config._replace(server=config.server._replace(port=1502))

    running = adapt(Config())
    assert Reload(source, None, adapt).read(running) is not None


def test_without_a_file_there_is_nothing_to_reload() -> None:
    reload = Reload(None, None, same)
    assert reload.read(Config()) is None
    assert "started without a configuration file" in reload.text


def test_a_missing_runtime_directory_does_not_stop_the_service(source: Path, tmp_path: Path) -> None:
    reload = Reload(source, tmp_path / "gone", same)
    assert reload.read(Config()) is not None
    reload.publish()
    assert read_result(tmp_path / "gone", 1, 0) is None
