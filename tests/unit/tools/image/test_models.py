"""Each promised model has its drivers in the kernel and the initrd, and its nodes in the device tree."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tools.image import base, fdt, models
from tools.image.models import BACKPORTS, PC, STABLE, Driver, Kernel, Model
from tools.image.settings import Settings

CARDS = {"brcm,bcm2835-sdhost", "brcm,bcm2711-emmc2", "brcm,bcm2712-sdhci"}


def kernel_for(model: Model) -> Kernel:
    """A kernel that has exactly what the model needs, all of it as modules."""
    return Kernel(
        "6.12",
        {driver.option: "m" for driver in model.drivers},
        frozenset(driver.module.replace("-", "_") for driver in model.drivers if driver.for_root),
        {model.device_tree: frozenset(driver.compatible for driver in model.drivers if driver.compatible)},
    )


def blob(structure: bytes, strings: bytes) -> bytes:
    """A device tree blob: the header of 40 bytes, the structure, the strings."""
    header = struct.pack(">10I", 0xD00DFEED, 40 + len(structure + strings), 40, 40 + len(structure), 40,
                         17, 16, 0, len(strings), len(structure))  # fmt: skip
    return header + structure + strings


def begin(name: str) -> bytes:
    text = name.encode() + b"\0"
    return struct.pack(">I", 1) + text + bytes(-len(text) % 4)


def prop(offset: int, value: bytes) -> bytes:
    return struct.pack(">3I", 3, len(value), offset) + value + bytes(-len(value) % 4)


END_NODE, END = struct.pack(">I", 2), struct.pack(">I", 9)
# "compatible" is at 0 of the strings, "status" at 11, "vmmc-supply" at 18, "phandle" at 30.
STRINGS = b"compatible\0status\0vmmc-supply\0phandle\0"
CARD = begin("mmc@7e202000") + prop(0, b"brcm,bcm2835-sdhost\0") + prop(18, struct.pack(">I", 7))
REGULATOR = begin("sd-vcc") + prop(0, b"regulator-fixed\0") + prop(30, struct.pack(">I", 7)) + END_NODE
TREE = blob(
    begin("") + prop(0, b"raspberrypi,3-model-b\0brcm,bcm2837\0")
    + begin("soc") + CARD + prop(11, b"okay\0") + END_NODE
    + begin("hidden") + prop(11, b"disabled\0") + begin("child") + prop(0, b"off,child\0")
    + END_NODE + END_NODE + END_NODE + REGULATOR + END_NODE + END,
    STRINGS,
)  # fmt: skip


@pytest.mark.parametrize("model", [*BACKPORTS, *PC], ids=lambda model: model.name)
def test_a_kernel_with_all_of_it_keeps_the_promise(model: Model) -> None:
    assert list(models.missing(model, kernel_for(model))) == []


@pytest.mark.parametrize(
    ("model", "driver"),
    [(model, driver) for model in [*BACKPORTS, *PC] for driver in model.drivers],
    ids=lambda value: getattr(value, "name", getattr(value, "option", "")),
)
def test_each_driver_that_is_missing_is_named(model: Model, driver: Driver) -> None:
    kernel = kernel_for(model)
    without = replace(kernel, options={k: v for k, v in kernel.options.items() if k != driver.option})

    assert f"{model.name}: CONFIG_{driver.option} is not set" in models.missing(model, without)


@pytest.mark.parametrize("model", BACKPORTS, ids=lambda model: model.name)
def test_what_the_root_needs_has_to_be_in_the_initrd(model: Model) -> None:
    kernel = replace(kernel_for(model), initrd=frozenset())

    found = list(models.missing(model, kernel))

    assert len(found) == len([driver for driver in model.drivers if driver.for_root])
    built_in = replace(kernel, options=dict.fromkeys(kernel.options, "y"))
    assert list(models.missing(model, built_in)) == []


@pytest.mark.parametrize("model", BACKPORTS, ids=lambda model: model.name)
def test_what_the_card_depends_on_has_to_be_in_the_initrd(model: Model) -> None:
    [card] = {driver.compatible for driver in model.drivers} & CARDS
    kernel = kernel_for(model)
    needs = replace(kernel, suppliers={(model.device_tree, card): frozenset({"new_regulator"})})

    assert list(models.missing(model, needs)) == [
        f"{model.name}: the initrd has no new_regulator, on which {card} depends"
    ]
    assert list(models.missing(model, replace(needs, initrd=kernel.initrd | {"new_regulator"}))) == []


@pytest.mark.parametrize("model", BACKPORTS, ids=lambda model: model.name)
def test_a_model_without_its_nodes_or_its_device_tree_is_named(model: Model) -> None:
    kernel = kernel_for(model)
    empty = replace(kernel, device_trees={model.device_tree: frozenset()})
    nodes = [driver.compatible for driver in model.drivers if driver.compatible]

    assert len(list(models.missing(model, empty))) == len(nodes)
    assert list(models.missing(model, replace(kernel, device_trees={}))) == [
        f"{model.name}: the kernel has no device tree {model.device_tree}"
    ]


def test_each_model_has_a_card_and_a_network() -> None:
    for model in BACKPORTS:
        options = {driver.option for driver in model.drivers}
        assert options & {"MMC_BCM2835", "MMC_SDHCI_IPROC", "MMC_SDHCI_BRCMSTB"}
        assert options & {"USB_NET_SMSC95XX", "USB_LAN78XX", "BCMGENET", "MACB", "BRCMFMAC"}
    # With the device trees of both steppings.
    assert [model.name for model in BACKPORTS if model not in STABLE] == ["Raspberry Pi 5"] * 2


def test_each_image_promises_its_models() -> None:
    assert models.promised("arm64", "stable") == STABLE
    assert models.promised("arm64", "backports") == BACKPORTS
    assert models.promised("amd64", "stable") == PC


@pytest.mark.parametrize(("architecture", "promised"), [("arm64", BACKPORTS), ("amd64", PC)])
def test_the_initrd_gets_what_any_model_needs_for_its_root(
    architecture: str, promised: tuple[Model, ...]
) -> None:
    listed = {name.replace("-", "_") for name in Settings(architecture, "stable", 0).modules()}
    needed = {d.module.replace("-", "_") for model in promised for d in model.drivers if d.for_root}

    assert needed <= listed


def test_the_kernel_is_read_from_the_root(tmp_path: Path) -> None:
    trees = tmp_path / "usr/lib/linux-image-6.12/broadcom"
    trees.mkdir(parents=True)
    (trees / "bcm2837-rpi-3-b.dtb").write_bytes(TREE)
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.12").touch()
    modules = tmp_path / "usr/lib/modules/6.12"
    modules.mkdir(parents=True)
    (modules / "modules.alias").write_text(
        "# Aliases\nalias of:N*T*Cregulator-fixed fixed\nalias of:N*T*Cregulator-fixedC* fixed\n"
    )
    (tmp_path / "boot/config-6.12").write_text("CONFIG_EXT4_FS=m\n# CONFIG_MACB is not set\nCONFIG_HZ=250\n")

    version = models.kernel_version(tmp_path)
    kernel = models.read_kernel(tmp_path, version, ["usr/lib/modules/6.12/kernel/fs/ext4/ext4.ko.xz", "init"])

    assert kernel.options == {"EXT4_FS": "m", "HZ": "250"}
    assert kernel.initrd == {"ext4"}
    assert kernel.device_trees == {
        "bcm2837-rpi-3-b.dtb": {
            "raspberrypi,3-model-b",
            "brcm,bcm2837",
            "brcm,bcm2835-sdhost",
            "regulator-fixed",
        }
    }
    assert kernel.suppliers == {("bcm2837-rpi-3-b.dtb", "brcm,bcm2835-sdhost"): {"fixed"}}


def test_device_trees_of_newer_kernels_are_found_where_they_moved(tmp_path: Path) -> None:
    trees = tmp_path / "usr/lib/modules/7.3/dtb/broadcom"
    trees.mkdir(parents=True)
    (trees / "bcm2712-rpi-5-b.dtb").write_bytes(TREE)
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config-7.3").touch()
    (tmp_path / "usr/lib/modules/7.3/modules.alias").touch()

    assert list(models.read_kernel(tmp_path, "7.3", []).device_trees) == ["bcm2712-rpi-5-b.dtb"]


@pytest.mark.parametrize("names", [[], ["vmlinuz-6.1", "vmlinuz-6.12"]])
def test_a_root_has_exactly_one_kernel(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "boot").mkdir()
    for name in names:
        (tmp_path / "boot" / name).touch()

    with pytest.raises(ValueError, match=f"{len(names)} kernels instead of one"):
        models.kernel_version(tmp_path)


def test_the_properties_of_a_tree_are_read() -> None:
    root = fdt.parse(TREE)

    assert root.compatible == ["raspberrypi,3-model-b", "brcm,bcm2837"]
    assert [node.name for node in root.children] == ["soc", "sd-vcc"]
    assert [node.name for node in root.children[0].children] == ["mmc@7e202000", "hidden"]


@pytest.mark.parametrize("content", [b"", b"MZ", bytes(64), TREE[:60], TREE[: len(TREE) - 30]])
def test_what_is_not_a_whole_tree_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        fdt.parse(content)


@pytest.mark.parametrize(
    "model",
    [model for found in models.RASPBERRY_PI.values() for model in found],
    ids=lambda model: model.name,
)
def test_raspberry_pis_own_kernels_are_checked_as_well(model: Model) -> None:
    kernel = kernel_for(model)

    assert list(models.missing(model, kernel)) == []
    for driver in model.drivers:
        without = replace(kernel, options={k: v for k, v in kernel.options.items() if k != driver.option})
        assert f"{model.name}: CONFIG_{driver.option} is not set" in models.missing(model, without)


def test_each_flavour_of_raspberry_pis_kernel_has_its_models() -> None:
    assert set(models.RASPBERRY_PI) == base.FLAVOURS
    assert [model.name for model in models.RASPBERRY_PI["2712"]] == ["Raspberry Pi 5"]
    assert {model.name for model in models.RASPBERRY_PI["v8"]} == {model.name for model in STABLE}
