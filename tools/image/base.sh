#!/bin/sh
# Make the root file system of a downloaded Raspberry Pi OS ($1) that of an appliance. Runs in a build space with a network,
# with the root prepared for a chroot.
#
# $2: a folder for everything else, with debian.sources, apt.conf and the list of the initrd's modules. $3: a folder that keeps
# the downloaded packages. ARCHITECTURE, PACKAGES, REMOVED (names) and LOGIN come from the environment.
set -eu
root=$1 work=$2 cache=$3
: "${ARCHITECTURE:?}" "${PACKAGES:?}" "${REMOVED:?}" "${LOGIN:?}"

# apt runs outside of the root and dpkg inside, as with mmdebstrap. Raspberry Pi's own archive is not used: its packages stay as
# they are, and those that are missing are Debian's.
mkdir -p "$work/apt/none" "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"
mount --bind "$cache" "$root/var/cache/apt/archives"
mkdir -p "$root/var/cache/apt/archives/partial"
cat "$work/apt.conf" - > "$work/apt/apt.conf" <<END
Dir "$root";
Dir::Etc::SourceList "$work/debian.sources";
Dir::Etc::SourceParts "$work/apt/none";
Dir::Etc::Parts "$work/apt/none";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$work/apt/none";
DPkg::Chroot-Directory "$root";
DPkg::Options { "--force-confdef"; "--force-confold"; };
APT::Architecture "$ARCHITECTURE";
APT::Architectures { "$ARCHITECTURE"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
export APT_CONFIG="$work/apt/apt.conf"

# Nothing is started, and the initrd is packed once (initrd.sh).
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
export INITRD=No

# Who may log in is decided by a site card; a downloaded image may have a user with a known password.
# shellcheck disable=SC2013 # names have no spaces
for user in $(awk -F : '$3 >= 1000 && $3 < 60000 { print $1 }' "$root/etc/passwd"); do
    chroot "$root" userdel --force --remove "$user" || true
done
chroot "$root" usermod --password '*' root

# shellcheck disable=SC2016 # dpkg-query expands it
installed=$(chroot "$root" dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii //p')
removed=
for name in $REMOVED; do
    if echo "$installed" | grep -qx "$name"; then removed="$removed $name"; fi
done
apt-get update -q
# shellcheck disable=SC2086 # a list of names
apt-get install -qy --no-install-recommends $PACKAGES
# shellcheck disable=SC2086 # a list of names
apt-mark manual $PACKAGES > "$work/apt/manual"
if [ -n "$removed" ]; then
    # shellcheck disable=SC2086 # a list of names
    apt-get purge -qy --autoremove $removed
fi
umount "$root/var/cache/apt/archives"

# The same as without a base (root.sh, customize.sh).
rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -mindepth 1 -type d -empty -delete
chroot "$root" useradd --create-home --shell /bin/bash --comment '' --groups adm,sudo,netdev "$LOGIN"
install -d "$root/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' > "$root/etc/initramfs-tools/conf.d/smart-meter"
cp "$work/modules" "$root/etc/initramfs-tools/modules"
rm -rf "$root"/etc/apt/sources.list.d/* "$root/etc/apt/sources.list" "$root/usr/sbin/policy-rc.d"
