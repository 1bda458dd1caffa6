#!/bin/sh
# Pack the initrd of a root file system ($1), and list its files into $2. Runs in a build space, prepared for a chroot.
# $3: the kernel's version, which is needed if there are several.
set -eu
root=$1
version=${3:-$(ls "$root/usr/lib/modules")}
chroot "$root" depmod "$version"
chroot "$root" update-initramfs -c -k "$version"
chroot "$root" lsinitramfs "/boot/initrd.img-$version" > "$2"
