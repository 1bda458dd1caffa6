"""The SSH host keys of a Pi are made once, and a damaged one again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tools.image.state import keys

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs openssh-client")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_missing_keys_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert keys.make_missing(tmp_path) == ["ed25519", "ecdsa"]

    assert sorted(content(tmp_path)) == [
        "ssh_host_ecdsa_key",
        "ssh_host_ecdsa_key.pub",
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key.pub",
    ]
    assert (tmp_path / "ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ssh_host_ed25519_key.pub").read_text().endswith(" smart-meter\n")


def test_keys_stay_at_the_next_boot(tmp_path: Path) -> None:
    keys.make_missing(tmp_path)
    before = content(tmp_path)

    assert keys.make_missing(tmp_path) == []
    assert content(tmp_path) == before


def test_a_damaged_key_is_made_again_and_the_other_one_stays(tmp_path: Path) -> None:
    keys.make_missing(tmp_path)
    before = content(tmp_path)
    (tmp_path / "ssh_host_ecdsa_key").write_bytes(b"")

    assert keys.make_missing(tmp_path) == ["ecdsa"]

    after = content(tmp_path)
    assert after["ssh_host_ed25519_key"] == before["ssh_host_ed25519_key"]
    assert after["ssh_host_ecdsa_key.pub"] != before["ssh_host_ecdsa_key.pub"]


def test_what_an_interrupted_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".new-keys").mkdir()
    (tmp_path / ".new-keys/key").write_text("torn")

    keys.make_missing(tmp_path)

    assert ".new-keys" not in {path.name for path in tmp_path.iterdir()}


def test_a_card_that_is_full_is_an_error_and_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys, "_synchronise", fail)

    with pytest.raises(OSError, match="No space left"):
        keys.make_missing(tmp_path)
    assert content(tmp_path) == {}
