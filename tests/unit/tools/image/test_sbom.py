"""The manifest and the SBOM name what dpkg has installed and what the lock pins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tools.image import sbom
from tools.image.sbom import Package, Wheel

REPOSITORY = Path(__file__).resolve().parents[4]
STATUS = """\
Package: openssh-server
Status: install ok installed
Maintainer: Debian OpenSSH Maintainers <debian-ssh@lists.debian.org>
Architecture: arm64
Source: openssh
Version: 1:10.0p1-7+deb13u4
Description: secure shell server
 Version: not a field, but a line of the description

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: dash
Status: install ok installed
Architecture: arm64
Version: 0.5.12-12
"""
LOCK = """\
pip==26.3 \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
    # via -r requirements/pi.in
Pymodbus==3.16.1 ; python_version >= '3.11' \\
    --hash=sha256:{0}
""".format("a" * 64, "b" * 64)
SSH = Package("openssh-server", "1:10.0p1-7+deb13u4", "arm64", "openssh", "Debian OpenSSH Maintainers <x@y>")
PIP = Wheel("pip", "26.3", ("a" * 64, "b" * 64))


def test_installed_packages_are_listed_by_name() -> None:
    packages = sbom.installed_packages(STATUS)

    assert [(p.name, p.version, p.source) for p in packages] == [
        ("dash", "0.5.12-12", "dash"),
        ("openssh-server", "1:10.0p1-7+deb13u4", "openssh"),
    ]


def test_locked_wheels_have_their_hashes() -> None:
    assert sbom.locked_wheels(LOCK) == [PIP, Wheel("pymodbus", "3.16.1", ("a" * 64,))]


def test_the_repositorys_own_lock_is_read() -> None:
    wheels = sbom.locked_wheels((REPOSITORY / "requirements/pi.txt").read_text())

    assert "pymodbus" in {wheel.name for wheel in wheels}
    assert all(wheel.hashes for wheel in wheels)


def test_the_concentrators_own_packages_are_those_that_are_installed(tmp_path: Path) -> None:
    packages = tmp_path / "opt/smart-meter/releases/1.0+abc/lib/python3.13/site-packages"
    for name in ("pip-26.3.dist-info", "smart_meter-1.0.0.dist-info", "smart_meter"):
        (packages / name).mkdir(parents=True)

    assert sbom.installed_wheels(tmp_path, [PIP, Wheel("pymodbus", "3.16.1")]) == [
        PIP,
        Wheel("smart-meter", "1.0.0"),
    ]


def test_the_manifest_has_a_line_for_each() -> None:
    assert sbom.manifest([SSH], [PIP]) == ("openssh-server\t1:10.0p1-7+deb13u4\tarm64\npip\t26.3\tpython\n")


def test_the_sbom_is_cyclonedx_and_the_same_each_time() -> None:
    serial = "3e671687-395b-41f5-a30f-a58921a69b79"
    text = sbom.cyclonedx("image", [SSH], [PIP], version="1", epoch=1_700_000_000, serial=serial)
    document = json.loads(text)

    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["serialNumber"] == f"urn:uuid:{serial}"
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert [component["purl"] for component in document["components"]] == [
        "pkg:deb/debian/openssh-server@1%3A10.0p1-7%2Bdeb13u4?arch=arm64&distro=debian-13",
        "pkg:pypi/pip@26.3",
    ]
    references = [component["bom-ref"] for component in document["components"]]
    assert document["dependencies"] == [{"ref": "image", "dependsOn": references}]
    assert document["components"][0]["supplier"] == {"name": "Debian OpenSSH Maintainers"}


@pytest.mark.parametrize(
    "version", ["1:6.12.47-1+rpt1", "1:10.0p1-7+rpt1+deb13u1", "20250908-1~bookworm+rpt2"]
)
def test_packages_of_raspberry_pi_are_not_debians(version: str) -> None:
    purl = Package("linux-image-rpi-v8", version, "arm64", "linux").purl

    assert purl.startswith("pkg:deb/raspberrypi/linux-image-rpi-v8@")
    assert "distro" not in purl
    # A version that only has the letters.
    assert Package("x", "1.0rpt", "arm64", "x").purl.startswith("pkg:deb/debian/x@")


def test_tools_whose_output_is_in_the_image_are_listed_too(tmp_path: Path) -> None:
    (tmp_path / "grub.tsv").write_text("grub-pc-bin\t2.12-9\tamd64\n")

    assert sbom.build_tools(tmp_path / "grub.tsv") == [Package("grub-pc-bin", "2.12-9", "amd64", "grub2")]
    assert sbom.build_tools(tmp_path / "none.tsv") == []
