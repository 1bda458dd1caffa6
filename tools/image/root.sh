#!/bin/sh
# Make the image's root file system from Debian's packages. Runs in a build space with a network.
#
# $1: the root, $2: a folder for everything else, $3: a folder that keeps the downloaded packages.
# In the second are debian.sources and apt.conf for this build, and the list of the initrd's modules.
# ARCHITECTURE, PACKAGES and KEYRING come from the environment.
set -eu
root=$1
export WORK="$2" CACHE="$3"
here=$(dirname "$0")

# The initrd is packed once, when everything that goes into it is there (initrd.sh).
export INITRD=No
# Left out: manuals and translations, and the drivers of screens, cameras, sound and InfiniBand, which take a fifth of the image.
# shellcheck disable=SC2016 # The hooks are expanded by their own shells.
exec mmdebstrap --mode=root --architectures="$ARCHITECTURE" --variant=minbase --include="$PACKAGES" --keyring="$KEYRING" \
    --skip=check/qemu,download/empty,essential/unlink,cleanup/apt \
    --aptopt='APT::Install-Recommends "false"' --aptopt="$WORK/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/lib/modules/*/kernel/sound/*' --dpkgopt='path-exclude=/usr/lib/modules/*/kernel/drivers/gpu/*' \
    --dpkgopt='path-exclude=/usr/lib/modules/*/kernel/drivers/media/*' \
    --dpkgopt='path-exclude=/usr/lib/modules/*/kernel/drivers/infiniband/*' \
    --dpkgopt='path-exclude=/usr/lib/raspi-firmware/overlays/*' --dpkgopt='path-exclude=/usr/lib/raspi-firmware/*_*.*' \
    --dpkgopt='path-exclude=/usr/lib/raspi-firmware/*4[cdx]*' \
    --setup-hook='mkdir -p "$1/var/cache/apt/archives/partial" && mount --bind "$CACHE" "$1/var/cache/apt/archives"' \
    --customize-hook="\"$here/customize.sh\" \"\$1\"" \
    --customize-hook='umount "$1/var/cache/apt/archives"' \
    trixie "$root" "$WORK/debian.sources"
