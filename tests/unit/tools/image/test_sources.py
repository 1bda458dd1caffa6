"""An image's packages come from the archive that apt on this machine uses."""

from __future__ import annotations

import pytest
from tools import archive
from tools.archive import Archive
from tools.image import sources
from tools.image.process import BuildError
from tools.image.settings import Settings

ARCHIVE = Archive("http://deb.example/debian", "http://deb.example/debian-security", ())


def suites(text: str) -> list[str]:
    return [line.removeprefix("Suites: ") for line in text.splitlines() if line.startswith("Suites: ")]


def test_backports_are_used_for_their_kernel_only() -> None:
    stable = sources.apt_sources(ARCHIVE, Settings("arm64", "stable", 0))
    backports = sources.apt_sources(ARCHIVE, Settings("arm64", "backports", 0))

    assert suites(stable) == ["trixie", "trixie-updates", "trixie-security"]
    assert suites(backports) == [*suites(stable), "trixie-backports"]


def test_an_archive_without_security_updates_has_no_source_of_them() -> None:
    text = sources.apt_sources(Archive("http://deb.example/debian", None, ()), Settings("amd64", "stable", 0))

    assert suites(text) == ["trixie", "trixie-updates"]


@pytest.mark.parametrize(("from_here", "kept"), [(True, 2), (False, 1)])
def test_a_proxy_on_the_loopback_is_kept_if_packages_are_fetched_here(
    monkeypatch: pytest.MonkeyPatch, from_here: bool, kept: int
) -> None:
    dump = 'Acquire::http::Proxy "http://127.0.0.1:3142";\nAcquire::Retries "3";\nDPkg::Post-Invoke "x";\n'
    monkeypatch.setattr(archive, "_output", lambda *_: dump)
    monkeypatch.setenv("VIRTUAL_PI_ARCHIVE", "http://deb.example/debian")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert len(archive.of_local_machine(from_here=from_here).options) == kept


def test_a_machine_without_an_archive_can_not_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_output", lambda *_: "")
    monkeypatch.delenv("VIRTUAL_PI_ARCHIVE", raising=False)

    with pytest.raises(BuildError, match="no Debian archive"):
        sources.of_local_machine()
