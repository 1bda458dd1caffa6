#!/bin/sh
# Prepare a root file system ($1) that has all packages for the roles. Runs as a hook of mmdebstrap, which has set up /proc,
# /dev and the name servers. ARCHITECTURE and WORK come from the environment (root.sh).
set -eu
root=$1
: "${WORK:?}"

# The login of the fleet's inventory (ansible_user). It has no password; a site card brings its keys.
chroot "$root" useradd --create-home --shell /bin/bash --comment '' --groups adm,sudo,netdev pi

# The initrd only has the listed modules, so it is small and the same on every builder.
install -d "$root/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' > "$root/etc/initramfs-tools/conf.d/smart-meter"
cp "$WORK/modules" "$root/etc/initramfs-tools/modules"

# GRUB for a PC's BIOS and UEFI. Only what it makes here gets into the image.
if [ "$ARCHITECTURE" = amd64 ]; then
    packages="grub-common grub-pc-bin grub-efi-amd64-bin"
    modules="part_msdos fat ext2 normal configfile linux search search_fs_uuid search_label echo test loadenv serial terminal
        reboot halt minicmd"
    # shellcheck disable=SC2086 # a list of names
    chroot "$root" apt-get install -qy --no-install-recommends $packages
    # shellcheck disable=SC2086,SC2016 # dpkg-query expands it
    chroot "$root" dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\n' $packages > "$WORK/grub.tsv"
    install -d "$root/tmp/grub"
    # shellcheck disable=SC2016 # GRUB expands it
    printf 'search --no-floppy --label SITE --set=root\nset prefix=($root)/grub\n' > "$root/tmp/grub/early.cfg"
    # shellcheck disable=SC2086 # a list of names
    chroot "$root" grub-mkimage -O i386-pc -p '(,msdos1)/grub' -o /tmp/grub/core.img biosdisk $modules
    # shellcheck disable=SC2086 # a list of names
    chroot "$root" grub-mkimage -O x86_64-efi -p /grub -c /tmp/grub/early.cfg -o /tmp/grub/bootx64.efi \
        efi_gop all_video $modules
    cp "$root/usr/lib/grub/i386-pc/boot.img" "$root/tmp/grub/"
    mv "$root/tmp/grub" "$WORK/grub"
    # shellcheck disable=SC2086 # a list of names
    chroot "$root" apt-get purge -qy --autoremove $packages
fi

rm -f "$root"/etc/apt/sources.list.d/* "$root/etc/apt/sources.list"
