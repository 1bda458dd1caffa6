#!/bin/sh
# Configures a plain Debian root file system ($1) like Raspberry Pi OS Lite before it is flashed.
set -eu
root=$1

echo raspberrypi > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n::1\tlocalhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
mkdir -p "$root/boot/firmware"

# The image's own defaults.
ln -sf /usr/share/zoneinfo/Europe/London "$root/etc/localtime"
echo 'en_GB.UTF-8 UTF-8' > "$root/etc/locale.gen"
chroot "$root" locale-gen
echo 'LANG=en_GB.UTF-8' > "$root/etc/default/locale"

# It has no password until flash.sh sets one. There is no file in sudoers.d, so sudo asks for the password.
for group in gpio i2c spi; do
    chroot "$root" groupadd --system "$group"
done
chroot "$root" useradd --create-home --shell /bin/bash --comment '' \
    --groups adm,dialout,cdrom,sudo,audio,video,plugdev,games,users,input,render,netdev,gpio,i2c,spi pi

# As in raspberrypi-sys-mods, to reduce wear of the SD card.
install -D -m 644 /dev/stdin "$root/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf" << 'END'
[Journal]
Storage=volatile
END

# The lab's own link to the package archive, which a real Pi does not have. It is in the distribution's folder, so that
# /etc is the same as after flashing, and in a profile, so that it does not depend on automatic profiles.
install -D -m 600 /dev/stdin "$root/usr/lib/NetworkManager/system-connections/uplink0.nmconnection" << 'END'
[connection]
id=uplink0
uuid=5b0f3d8e-6f57-4f0e-9a53-0d3a1a6b7c10
type=ethernet
interface-name=uplink0
autoconnect-priority=100
autoconnect-retries=0

[ipv4]
method=auto
route-metric=50

[ipv6]
method=disabled
END

# Every Pi generates its own.
rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf"
: > "$root/etc/machine-id"
