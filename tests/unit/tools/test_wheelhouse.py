"""The controller's wheelhouse: what makes a release, and what it refuses."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "tools" / "wheelhouse.py"


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the program as a module, on a small repository of its own."""
    spec = importlib.util.spec_from_file_location("wheelhouse", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "program.py").write_text("1\n")
    (tmp_path / "pyproject.toml").write_text("2\n")
    (tmp_path / "pi.txt").write_text("3\n")
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.setattr(module, "LOCK", tmp_path / "pi.txt")
    return module


def test_the_same_sources_are_the_same_release(wheelhouse: ModuleType) -> None:
    assert wheelhouse.fingerprint("3.13", "aarch64") == wheelhouse.fingerprint("3.13", "aarch64")


@pytest.mark.parametrize("changed", ["src/program.py", "pyproject.toml", "pi.txt"])
def test_a_changed_file_is_another_release(wheelhouse: ModuleType, tmp_path: Path, changed: str) -> None:
    before = wheelhouse.fingerprint("3.13", "aarch64")

    (tmp_path / changed).write_text("changed\n")

    assert wheelhouse.fingerprint("3.13", "aarch64") != before


def test_another_python_or_architecture_is_another_release(wheelhouse: ModuleType) -> None:
    targets = [("3.13", "aarch64"), ("3.11", "aarch64"), ("3.13", "x86_64")]

    assert len({wheelhouse.fingerprint(*target) for target in targets}) == 3


def test_what_python_compiled_is_no_part_of_a_release(wheelhouse: ModuleType, tmp_path: Path) -> None:
    before = wheelhouse.fingerprint("3.13", "aarch64")

    (tmp_path / "src" / "program.pyc").write_bytes(b"4")

    assert wheelhouse.fingerprint("3.13", "aarch64") == before


def test_an_architecture_without_wheels_is_refused_with_the_mend(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(PROGRAM),
        "--python",
        "3.13",
        "--machine",
        "armv7l",
        "--cache",
        str(tmp_path),
    ]

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode != 0
    assert "no wheels for architecture 'armv7l'; use a 64-bit Raspberry Pi OS" in done.stderr


@pytest.mark.parametrize("python", ["3.13/../../x", "--fetch", "3", "2.7", "3.13\n"])
def test_only_a_version_becomes_a_folder_of_the_cache(tmp_path: Path, python: str) -> None:
    command = [sys.executable, str(PROGRAM), f"--python={python}", "--machine=aarch64", f"--cache={tmp_path}"]

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert "is not a version such as 3.13" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_that_the_lock_has_is_let_through(wheelhouse: ModuleType, tmp_path: Path) -> None:
    wheelhouse.check_locked(locked(tmp_path, "Some_Project-1.0-py3-none-any.whl", "some-project"))


@pytest.mark.parametrize("file", ["pip-26.3-py3-none-any.whl", "pymodbus-3.16.1-py3-none-any.whl"])
def test_a_wheel_that_was_changed_in_the_cache_is_refused(
    wheelhouse: ModuleType, tmp_path: Path, file: str
) -> None:
    wheel = locked(tmp_path, file, file.partition("-")[0])
    wheel.write_bytes(b"something else")

    with pytest.raises(SystemExit) as refused:
        wheelhouse.check_locked(wheel)

    assert file in str(refused.value)
    assert "which pi.txt does not have" in str(refused.value)
    assert f"delete {wheel.parent}, and run `make wheels`" in str(refused.value)


def test_a_wheel_under_the_name_of_another_locked_project_is_refused(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    wheel = locked(tmp_path, "pip-26.3-py3-none-any.whl", "pip")
    with (tmp_path / "pi.txt").open("a") as lock:
        lock.write(f"pymodbus==3.16.1 \\\n    --hash=sha256:{'0' * 64}\n")

    with pytest.raises(SystemExit, match="its SHA-256 is"):
        wheelhouse.check_locked(wheel.rename(wheel.with_name("pymodbus-3.16.1-py3-none-any.whl")))


def locked(folder: Path, file: str, project: str) -> Path:
    """Make a wheel, and a lock that has it."""
    wheel = folder / file
    wheel.write_bytes(b"as it was fetched")
    digest = hashlib.sha256(b"as it was fetched").hexdigest()
    (folder / "pi.txt").write_text(f"{project}==1.0 \\\n    --hash=sha256:{digest}\n    # via -r pi.in\n")
    return wheel


OWN = {
    "program.py": "1\n",
    "smart_meter-1.0.dist-info/METADATA": "Name: smart-meter\n",
    "smart_meter-1.0.dist-info/RECORD": "",
    "smart_meter-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\n",
    "smart_meter-1.0.dist-info/entry_points.txt": "[console_scripts]\nsmart-meter = program:main\n",
}


def own(wheelhouse: ModuleType, folder: Path, content: dict[str, str]) -> Path:
    """Make a wheel of our own."""
    (folder / "pyproject.toml").write_text('[project.scripts]\nsmart-meter = "program:main"\n')
    wheel = folder / "smart_meter-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return wheel


def test_our_own_wheel_with_this_checkouts_files_is_let_through(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    wheelhouse.check_own(own(wheelhouse, tmp_path, OWN))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"program.py": "2\n"}, "program.py is not what src/ has", id="another program"),
        pytest.param({"sitecustomize.py": "3\n"}, "sitecustomize.py is not what", id="one file more"),
        pytest.param(
            {"more.pth": "import os\n"}, "more.pth is not what", id="one that Python runs by itself"
        ),
        pytest.param(
            {"smart_meter-1.0.data/scripts/ls": "#!/bin/sh\n"}, "scripts/ls is not what", id="a script"
        ),
        pytest.param(
            {"smart_meter-1.0.dist-info/entry_points.txt": "[console_scripts]\nls = program:main\n"},
            "it would install other programs than smart-meter",
            id="another entry point",
        ),
    ],
)
def test_our_own_wheel_with_anything_else_is_refused(
    wheelhouse: ModuleType, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        wheelhouse.check_own(own(wheelhouse, tmp_path, {**OWN, **changed}))


def test_our_own_wheel_without_one_of_the_files_is_refused(wheelhouse: ModuleType, tmp_path: Path) -> None:
    content = {name: text for name, text in OWN.items() if name != "program.py"}

    with pytest.raises(SystemExit, match=r"program\.py is missing"):
        wheelhouse.check_own(own(wheelhouse, tmp_path, content))


def test_our_own_wheel_that_is_torn_is_refused(wheelhouse: ModuleType, tmp_path: Path) -> None:
    wheel = own(wheelhouse, tmp_path, OWN)
    wheel.write_bytes(wheel.read_bytes()[:100])

    with pytest.raises(SystemExit, match="changed or damaged in the cache"):
        wheelhouse.check_own(wheel)


def test_a_release_is_refused_where_its_cached_wheel_was_changed(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "src/smart_meter").mkdir()
    (tmp_path / "src/smart_meter/__init__.py").write_text('__version__ = "1.0"\n')
    wheel = locked(tmp_path, "pip-26.3-py3-none-any.whl", "pip")
    # The lock is a part of the fingerprint.
    folder = tmp_path / f"wheels-{wheelhouse.fingerprint('3.13', 'x86_64')}-py3.13-x86_64"
    folder.mkdir()
    cached = wheel.rename(folder / wheel.name)
    made = wheelhouse.release(tmp_path, "3.13", "x86_64")
    with tarfile.open(made["archive"]) as archive:
        assert archive.getnames() == [cached.name]
    assert wheelhouse.release(tmp_path, "3.13", "x86_64") == made, "the same wheels are the same archive"

    cached.write_bytes(b"runs as root")

    with pytest.raises(SystemExit, match=r"pip-26\.3-py3-none-any\.whl: its SHA-256 is"):
        wheelhouse.release(tmp_path, "3.13", "x86_64")
