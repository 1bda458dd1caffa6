"""The layout of the card: what a Pi's ROM needs first, what grows last, two systems between them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tools.image import boot, disk
from tools.image.disk import BOOT_A, BOOT_B, PARTITIONS, ROOT_A, ROOT_B, SITE, STATE, Identity
from tools.image.state.mbr import Entry

REPOSITORY = Path(__file__).resolve().parents[4]
IDENTITY = Identity("digest of the inputs")


def test_the_first_partition_is_the_one_that_a_pi_3_reads() -> None:
    # Its ROM knows the types 0x0b and 0x0c only.
    assert PARTITIONS[0] is SITE
    assert SITE.type == 0x0C


def test_the_state_partition_is_the_last_so_that_it_can_grow() -> None:
    assert PARTITIONS[-1] is STATE
    assert [partition.number for partition in PARTITIONS] == [1, 2, 3, 5, 6, 7, 8]


def test_the_decision_shows_this_layout() -> None:
    text = (REPOSITORY / "docs/decisions/0019-the-layout-of-the-card.md").read_text(encoding="utf-8")

    rows = re.findall(r"^\| (\d) \| (\S+) \| \w+ \(0x(\w\w)\) \| (\d+) (MiB|GiB) \|", text, re.MULTILINE)
    shown = [
        (int(n), label, int(t, 16), int(size) * {"MiB": 1, "GiB": 1024}[u]) for n, label, t, size, u in rows
    ]
    assert shown == [(p.number, p.label, p.type, p.mib) for p in PARTITIONS]


def test_both_systems_have_the_same_room() -> None:
    assert BOOT_A.mib == BOOT_B.mib
    assert ROOT_A.mib == ROOT_B.mib


def test_boot_partitions_are_primary_and_the_others_logical() -> None:
    assert {partition.number <= 3 for partition in (SITE, BOOT_A, BOOT_B)} == {True}
    assert {partition.number > disk.EXTENDED for partition in (ROOT_A, ROOT_B, STATE)} == {True}


def test_genimage_gets_the_partitions_in_order_with_an_aligned_mbr() -> None:
    text = disk.genimage_config(IDENTITY, "x.img", boot_loader=False)

    assert re.findall(r"partition (\S+) {", text) == [p.label for p in PARTITIONS]
    assert "align = 4M" in text
    assert 'partition-table-type = "mbr"' in text
    assert "extended-partition = 4" in text
    assert f"disk-signature = 0x{IDENTITY.signature:08x}" in text
    assert re.findall(r"size = (\d+)M", text) == [str(p.mib) for p in PARTITIONS]


def test_a_boot_loader_lies_before_the_first_partition_and_around_the_table() -> None:
    text = disk.genimage_config(IDENTITY, "x.img", boot_loader=True)

    assert re.search(r'image = "boot.img"\s+offset = 0\s+size = 440', text)
    assert re.search(r'image = "core.img"\s+offset = 512\s+size = 2M', text)
    assert text.count("in-partition-table = false") == 2


def layout() -> list[Entry]:
    """The partitions as genimage places them."""
    entries, offset = [], 4 * disk.MIB
    for partition in PARTITIONS:
        if partition is ROOT_A:
            entries.append(Entry(4, 0x0F, offset, 2130 * disk.MIB))
        # A logical partition follows its table, which takes an erase block.
        offset += 4 * disk.MIB if partition.number > 4 else 0
        entries.append(Entry(partition.number, partition.type, offset, partition.mib * disk.MIB))
        offset = entries[-1].end
    extended = entries[3]
    entries[3] = replace(extended, size=offset - extended.offset)
    return entries


def test_a_disk_with_the_layout_is_accepted() -> None:
    assert list(disk.layout_problems(layout())) == []


@pytest.mark.parametrize(
    ("number", "change", "problem"),
    [
        (1, {"type": 0x83}, "site: type 0x83"),
        (5, {"size": 512}, "root-a: type 0x83 and 512 bytes"),
        (2, {"offset": 512}, "boot-a: begins at 512"),
        (4, {"size": 1 << 40}, "the state partition is not the last one"),
        (8, {"number": 9}, "the disk has the partitions [1, 2, 3, 5, 6, 7, 9]"),
    ],
)
def test_another_layout_is_refused(number: int, change: dict[str, int], problem: str) -> None:
    entries = [replace(entry, **change) if entry.number == number else entry for entry in layout()]

    [found] = disk.layout_problems(entries)

    assert found.startswith(problem)


def test_identities_depend_on_the_inputs_only() -> None:
    same, other = Identity("digest of the inputs"), Identity("digest of other inputs")

    assert same.uuid("root-a") == IDENTITY.uuid("root-a") != other.uuid("root-a")
    assert same.signature == IDENTITY.signature != other.signature
    assert len({IDENTITY.uuid(p.label) for p in PARTITIONS}) == len(PARTITIONS)


def test_the_kernel_finds_its_root_by_the_disks_signature() -> None:
    assert IDENTITY.partuuid(ROOT_A) == f"{IDENTITY.signature:08x}-05"
    assert f"root=PARTUUID={IDENTITY.partuuid(ROOT_A)} " in boot.kernel_arguments(IDENTITY, "ttyS0")


def test_file_systems_get_fixed_identities() -> None:
    ext4 = disk.ext4_command(IDENTITY, ROOT_A, Path("root"), Path("root-a.img"))
    fat = disk.fat_command(IDENTITY, SITE, Path("site.img"))

    assert ext4[ext4.index("-U") + 1] == IDENTITY.uuid("root-a")
    assert f"hash_seed={IDENTITY.uuid('root-a hash')}" in ext4[ext4.index("-E") + 1]
    assert ext4[-2:] == ["root-a.img", "1024M"]
    assert fat[fat.index("-i") + 1] == IDENTITY.volume_id(SITE).replace("-", "").lower()
    assert "--invariant" in fat
    assert "-d" not in disk.ext4_command(IDENTITY, ROOT_B, None, Path("root-b.img"))


def test_the_pis_boot_firmware_is_sent_to_the_first_system(tmp_path: Path) -> None:
    root, site, first = tmp_path / "root", tmp_path / "site", tmp_path / "boot-a"
    for folder in (root / "usr/lib/raspi-firmware", root / "boot", site, first):
        folder.mkdir(parents=True)
    for name in ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat", "start_x.elf"):
        (root / "usr/lib/raspi-firmware" / name).write_text(name)
    trees = root / "usr/lib/linux-image-6.12/broadcom"
    trees.mkdir(parents=True)
    (trees / "bcm2837-rpi-3-b.dtb").touch()
    (trees / "bcm4908-router.dtb").touch()
    for name in ("vmlinuz-6.12", "initrd.img-6.12"):
        (root / "boot" / name).write_text(name)

    boot.write_pi(root, IDENTITY, site, first)

    assert sorted(path.name for path in site.iterdir()) == ["autoboot.txt", "bootcode.bin"]
    assert (site / "autoboot.txt").read_text() == "[all]\nboot_partition=2\n"
    assert {"vmlinuz", "initrd.img", "bcm2837-rpi-3-b.dtb", "config.txt", "start4.elf"} <= {
        path.name for path in first.iterdir()
    }
    assert not (first / "bcm4908-router.dtb").exists()
    assert (first / "cmdline.txt").read_text().count("\n") == 1
    assert "kernel=vmlinuz" in (first / "config.txt").read_text()


def test_grub_finds_the_first_systems_kernel(tmp_path: Path) -> None:
    root, grub, site, first = (tmp_path / name for name in ("root", "grub", "site", "boot-a"))
    for folder in (root / "boot", grub, site, first):
        folder.mkdir(parents=True)
    for path in (root / "boot/vmlinuz-6.12", root / "boot/initrd.img-6.12", grub / "bootx64.efi"):
        path.touch()

    boot.write_pc(root, IDENTITY, grub, site, first)

    text = (site / "grub/grub.cfg").read_text()
    assert f"--set=boot {IDENTITY.volume_id(BOOT_A)}" in text
    assert f"root=PARTUUID={IDENTITY.partuuid(ROOT_A)}" in text
    assert (site / "EFI/BOOT/BOOTX64.EFI").is_file()
    assert sorted(path.name for path in first.iterdir()) == ["initrd.img", "vmlinuz"]


def test_a_larger_root_changes_no_number_and_no_other_size() -> None:
    larger = disk.partitions(3072)

    changed = [(each.label, each.mib) for each in larger if each not in disk.PARTITIONS]
    assert changed == [("root-a", 3072), ("root-b", 3072)]
    assert [each.number for each in larger] == [each.number for each in disk.PARTITIONS]
    # A card of 8 GB.
    assert sum(each.mib for each in larger) * disk.MIB < 7.4e9
    assert "size = 3072M" in disk.genimage_config(Identity("x"), "disk.img", False, larger)
