import json
from pathlib import Path

import pytest

from smart_meter.config import Config
from smart_meter.runtime.reload import Reload, outcome


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('name = "new"\n')
    return path


def same(config: Config) -> Config:
    return config


def test_a_good_file_is_adopted_and_told(source: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    reload = Reload(source, runtime, same)
    config = reload.read(Config())
    assert config is not None
    assert config.name == "new"
    assert reload.text == f"[RELOADED] {source}"
    reload.tell()
    assert (runtime / "config.toml").read_text() == source.read_text()
    record = json.loads((runtime / "reload.json").read_text())
    assert outcome(runtime, record["pid"], record["at"]) == []
    assert outcome(runtime, record["pid"], record["at"] + 1) is None
    assert outcome(runtime, record["pid"] + 1, 0) is None


def test_a_refused_file_leaves_what_runs_and_says_all_that_is_wrong(source: Path, tmp_path: Path) -> None:
    source.write_text("name = 7\nwhat = 1\n")
    reload = Reload(source, tmp_path, same)
    assert reload.read(Config()) is None
    assert reload.text.splitlines()[0] == "[NOT RELOADED] the running configuration stays"
    assert [line.split(": ")[1] for line in reload.text.splitlines()[1:]] == ["name", "what"]
    reload.tell()
    assert not (tmp_path / ".config.toml").exists()
    record = json.loads((tmp_path / "reload.json").read_text())
    assert outcome(tmp_path, record["pid"], 0) == reload.problems


@pytest.mark.parametrize(("key", "value"), [("port", "503"), ("host", '"127.0.0.1"')])
def test_where_it_listens_can_not_change_while_it_runs(source: Path, key: str, value: str) -> None:
    source.write_text(f"[server]\n{key} = {value}\n")
    reload = Reload(source, None, same)
    assert reload.read(Config()) is None
    [problem] = reload.problems
    assert f"server.{key}: can't change from" in problem
    assert problem.endswith("while the service runs; restart it")


def test_what_the_command_line_adds_is_added_again(source: Path) -> None:
    def adapt(config: Config) -> Config:
        return config._replace(server=config.server._replace(port=1502))

    running = adapt(Config())
    assert Reload(source, None, adapt).read(running) is not None


def test_without_a_file_there_is_nothing_to_reload() -> None:
    reload = Reload(None, None, same)
    assert reload.read(Config()) is None
    assert "started without a configuration file" in reload.text


def test_a_folder_that_is_gone_does_not_stop_the_service(source: Path, tmp_path: Path) -> None:
    reload = Reload(source, tmp_path / "gone", same)
    assert reload.read(Config()) is not None
    reload.tell()
    assert outcome(tmp_path / "gone", 1, 0) is None
