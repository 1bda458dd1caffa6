"""The models that an image promises to run on, and whether its kernel can keep the promise.

A model needs drivers for its card and its network in the kernel's configuration, those for the root file
system in the initrd unless they are built in, and an enabled node for each in its device tree. The same goes
for what the card depends on, such as the regulators that power it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.image import fdt, suppliers

# Where Debian's kernels have their device trees: up to 6.12, and from 7.x on.
DEVICE_TREE_FOLDERS = ("usr/lib/linux-image-{version}/broadcom", "usr/lib/modules/{version}/dtb/broadcom")


@dataclass(frozen=True)
class Driver:
    """A driver that a model needs.

    option: in the kernel's configuration, without CONFIG_. module: its name if it is not built in.
    compatible: of the device tree's node. Empty: the device is found in another way, such as by its USB ids.
    for_root: needed before the root file system is mounted.
    """

    option: str
    module: str
    compatible: str = ""
    for_root: bool = False


@dataclass(frozen=True)
class Model:
    """A model: its device tree's file (a PC has none), and the drivers for its disk and its network."""

    name: str
    device_tree: str
    drivers: tuple[Driver, ...]


@dataclass(frozen=True)
class Kernel:
    """What a kernel package offers.

    options: each option of the configuration with its value, without CONFIG_. initrd: the names of its
    modules. device_trees: the `compatible` values of the enabled nodes in each device tree file.
    suppliers: the modules for what a card depends on, by device tree file and the card's `compatible`.
    """

    version: str
    options: dict[str, str]
    initrd: frozenset[str]
    device_trees: dict[str, frozenset[str]] = field(default_factory=dict)
    suppliers: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)


_EXT4 = Driver("EXT4_FS", "ext4", for_root=True)
_CARD_PI_3 = Driver("MMC_BCM2835", "bcm2835", "brcm,bcm2835-sdhost", for_root=True)
_CARD_PI_4 = Driver("MMC_SDHCI_IPROC", "sdhci-iproc", "brcm,bcm2711-emmc2", for_root=True)
_CARD_PI_5 = Driver("MMC_SDHCI_BRCMSTB", "sdhci-brcmstb", "brcm,bcm2712-sdhci", for_root=True)
_CARDS = frozenset(driver.compatible for driver in (_CARD_PI_3, _CARD_PI_4, _CARD_PI_5))
# They power the card of a Pi 4 and a Pi 5.
_REGULATORS = (
    Driver("REGULATOR_FIXED_VOLTAGE", "fixed", "regulator-fixed", for_root=True),
    Driver("REGULATOR_GPIO", "gpio-regulator", "regulator-gpio", for_root=True),
)
_BLOCK = Driver("MMC_BLOCK", "mmc_block", for_root=True)
_USB_HOST = Driver("USB_DWC2", "dwc2", "brcm,bcm2835-usb")
_WIFI = (
    Driver("BRCMFMAC", "brcmfmac", "brcm,bcm4329-fmac"),
    # The radio's bus on a Pi 3, 4 and Zero 2 W.
    Driver("MMC_SDHCI_IPROC", "sdhci-iproc"),
)
# The activity LED, which shows the Pi's health (docs/technician.md).
_LED = Driver("LEDS_GPIO", "leds-gpio", "gpio-leds")
# What changes is mounted over the root file system from the initrd.
_OVERLAY = Driver("OVERLAY_FS", "overlay", for_root=True)
_ALWAYS = (_EXT4, _OVERLAY, _BLOCK)

STABLE = (
    Model(
        "Raspberry Pi 3 B",
        "bcm2837-rpi-3-b.dtb",
        (
            *_ALWAYS,
            _CARD_PI_3,
            _USB_HOST,
            Driver("USB_NET_SMSC95XX", "smsc95xx", "usb424,ec00"),
            *_WIFI,
            _LED,
        ),
    ),
    Model(
        "Raspberry Pi 3 B+",
        "bcm2837-rpi-3-b-plus.dtb",
        (*_ALWAYS, _CARD_PI_3, _USB_HOST, Driver("USB_LAN78XX", "lan78xx", "usb424,7800"), *_WIFI, _LED),
    ),
    Model(
        "Raspberry Pi 4 B",
        "bcm2711-rpi-4-b.dtb",
        (
            *(*_ALWAYS, _CARD_PI_4, *_REGULATORS),
            Driver("BCMGENET", "genet", "brcm,bcm2711-genet-v5"),
            Driver("BROADCOM_PHY", "broadcom"),
            *_WIFI,
            _LED,
        ),
    ),
    # It has no Ethernet.
    Model("Raspberry Pi Zero 2 W", "bcm2837-rpi-zero-2-w.dtb", (*_ALWAYS, _CARD_PI_3, *_WIFI, _LED)),
)
PC = (
    Model(
        "PC or virtual machine",
        "",
        (
            _EXT4,
            _OVERLAY,
            Driver("VIRTIO_PCI", "virtio_pci", for_root=True),
            Driver("VIRTIO_BLK", "virtio_blk", for_root=True),
            Driver("SATA_AHCI", "ahci", for_root=True),
            Driver("BLK_DEV_NVME", "nvme", for_root=True),
            Driver("USB_STORAGE", "usb_storage", for_root=True),
            Driver("HYPERV_STORAGE", "hv_storvsc", for_root=True),
            Driver("VIRTIO_NET", "virtio_net"),
            Driver("E1000E", "e1000e"),
            Driver("R8169", "r8169"),
            Driver("HYPERV_NET", "hv_netvsc"),
            Driver("VMXNET3", "vmxnet3"),
        ),
    ),
)
# Newer ones (stepping D0) have another device tree.
_PI_5 = {"bcm2712-rpi-5-b.dtb": "brcm,bcm2712c0-pinctrl", "bcm2712-d-rpi-5-b.dtb": "brcm,bcm2712d0-pinctrl"}
BACKPORTS = (
    *STABLE,
    *(
        Model(
            "Raspberry Pi 5",
            device_tree,
            (
                *(*_ALWAYS, _CARD_PI_5, *_REGULATORS),
                Driver("GPIO_BRCMSTB", "gpio-brcmstb", "brcm,brcmstb-gpio", for_root=True),
                Driver("PINCTRL_BCM2712", "pinctrl-brcmstb-bcm2712", pins, for_root=True),
                # Its Ethernet is part of RP1, a chip on PCIe.
                Driver("PCIE_BRCMSTB", "pcie-brcmstb", "brcm,bcm2712-pcie"),
                Driver("BCM2712_MIP", "irq-bcm2712-mip", "brcm,bcm2712-mip"),
                Driver("MISC_RP1", "rp1-pci", "pci1de4,1"),
                Driver("COMMON_CLK_RP1", "clk-rp1", "raspberrypi,rp1-clocks"),
                Driver("PINCTRL_RP1", "pinctrl-rp1", "raspberrypi,rp1-gpio"),
                Driver("MACB", "macb", "raspberrypi,rp1-gem"),
                Driver("BROADCOM_PHY", "broadcom"),
            ),
        )
        for device_tree, pins in _PI_5.items()
    ),
)
"""The Pi models that an image promises, with Debian's own kernel and with that of backports."""


def _raspberry_pi(name: str, device_tree: str, *drivers: Driver) -> Model:
    """Return a model as Raspberry Pi's own kernel supports it, with other drivers and device trees."""
    return Model(name, device_tree, (*_ALWAYS, *drivers, Driver("BRCMFMAC", "brcmfmac")))


RASPBERRY_PI = {
    "v8": (
        _raspberry_pi(
            *("Raspberry Pi 3 B", "bcm2710-rpi-3-b.dtb"),
            *(_CARD_PI_3, Driver("USB_NET_SMSC95XX", "smsc95xx")),
        ),
        _raspberry_pi(
            *("Raspberry Pi 3 B+", "bcm2710-rpi-3-b-plus.dtb"),
            *(_CARD_PI_3, Driver("USB_LAN78XX", "lan78xx")),
        ),
        _raspberry_pi(
            *("Raspberry Pi 4 B", "bcm2711-rpi-4-b.dtb"),
            *(_CARD_PI_4, Driver("BCMGENET", "genet", "brcm,bcm2711-genet-v5")),
        ),
        _raspberry_pi("Raspberry Pi Zero 2 W", "bcm2710-rpi-zero-2-w.dtb", _CARD_PI_3),
    ),
    "2712": (
        _raspberry_pi(
            *("Raspberry Pi 5", "bcm2712-rpi-5-b.dtb"),
            *(_CARD_PI_5, Driver("PCIE_BRCMSTB", "pcie-brcmstb", "brcm,bcm2712-pcie")),
            *(Driver("MFD_RP1", "rp1"), Driver("MACB", "macb", "raspberrypi,rp1-gem")),
        ),
    ),
}
"""The models that an image on Raspberry Pi OS promises, by the flavour of the kernel that runs on them."""


def promised(architecture: str, kernel: str) -> tuple[Model, ...]:
    """Return the models that an image for this architecture and with this kernel has to run on."""
    if architecture == "amd64":
        return PC
    return BACKPORTS if kernel == "backports" else STABLE


def missing(model: Model, kernel: Kernel) -> Iterator[str]:
    """Yield each thing that the model needs and the kernel does not have."""
    tree = kernel.device_trees.get(model.device_tree)
    if model.device_tree and tree is None:
        yield f"{model.name}: the kernel has no device tree {model.device_tree}"
    for driver in model.drivers:
        value = kernel.options.get(driver.option, "n")
        if value not in ("y", "m"):
            yield f"{model.name}: CONFIG_{driver.option} is not set"
        elif value == "m" and driver.for_root and _plain(driver.module) not in kernel.initrd:
            yield f"{model.name}: the initrd has no {driver.module}, which the root file system needs"
        if tree is not None and driver.compatible and driver.compatible not in tree:
            yield f"{model.name}: {model.device_tree} has no enabled node {driver.compatible}"
        if driver.for_root:
            needed = kernel.suppliers.get((model.device_tree, driver.compatible), frozenset())
            for module in sorted(needed - kernel.initrd):
                yield f"{model.name}: the initrd has no {module}, on which {driver.compatible} depends"


def read_kernel(root: Path, version: str, initrd: Collection[str]) -> Kernel:
    """Return what the kernel of this version offers in a root file system. initrd: the paths of its files."""
    text = (root / f"boot/config-{version}").read_text(encoding="utf-8")
    options = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))
    folder = root / f"usr/lib/modules/{version}"
    aliases = suppliers.read_aliases((folder / "modules.alias").read_text(encoding="utf-8"))
    trees: dict[str, frozenset[str]] = {}
    needed: dict[tuple[str, str], frozenset[str]] = {}
    for pattern in DEVICE_TREE_FOLDERS:
        for path in sorted((root / pattern.format(version=version)).glob("*.dtb")):
            tree = fdt.parse(path.read_bytes())
            trees[path.name] = frozenset(tree.enabled_compatibles())
            for card in _CARDS & trees[path.name]:
                nodes = suppliers.supplier_nodes(tree, card)
                modules = (suppliers.modules_of(node, aliases) for node in nodes)
                needed[path.name, card] = frozenset(_plain(name) for names in modules for name in names)
    return Kernel(version, options, modules_in(initrd), trees, needed)


def modules_in(paths: Collection[str]) -> frozenset[str]:
    """Return the names of the kernel modules among these paths."""
    found = (re.search(r"([^/]+)\.ko(\.(xz|zst|gz))?$", path) for path in paths)
    return frozenset(_plain(match[1]) for match in found if match)


def kernel_version(root: Path) -> str:
    """Return the version of the root file system's only kernel. Raises ValueError if there is not one."""
    found = [path.name.removeprefix("vmlinuz-") for path in sorted((root / "boot").glob("vmlinuz-*"))]
    if len(found) != 1:
        raise ValueError(f"the root file system has {len(found)} kernels instead of one: {', '.join(found)}")
    return found[0]


def _plain(module: str) -> str:
    """Return a module's name as the kernel compares it: hyphens and underscores are the same."""
    return module.replace("-", "_")
