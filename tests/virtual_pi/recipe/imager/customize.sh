#!/bin/sh
# Turns a plain root file system ($1) into Raspberry Pi OS Lite (trixie) as it is downloaded: cloud-init has to make the
# user and start SSH. The files have the names and the contents of pi-gen and of raspberrypi-sys-mods.
set -eu
root=$1

# It warns that the user has no mailbox.
chroot "$root" userdel --remove pi
chroot "$root" systemctl --quiet disable ssh.service ssh.socket

install -D -m 644 /dev/stdin "$root/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg" << 'END'
# configure cloud-init with NoCloud

datasource_list: [ NoCloud, None ]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware

ssh_deletekeys: false
ssh_genkeytypes: []
END

install -D -m 600 /dev/stdin "$root/usr/lib/netplan/00-network-manager-all.yaml" << 'END'
network:
  version: 2
  renderer: NetworkManager
END

# Images have one or the other. The second one sorts after a drop-in named 50-, and so beats it.
install -D -m 644 /dev/stdin "$root/usr/lib/systemd/system.conf.d/40-rpi-enable-watchdog.conf" << 'END'
[Manager]
RuntimeWatchdogSec=1m
RebootWatchdogSec=2m
END
install -D -m 644 /dev/stdin "$root/usr/lib/systemd/system.conf.d/70-rpi-enable-watchdog.conf" << 'END'
[Manager]
RuntimeWatchdogSec=16
RebootWatchdogSec=1m
END

install -D -m 440 /dev/stdin "$root/etc/sudoers.d/010_global-tty" << 'END'
Defaults timestamp_type=global
END

install -D -m 644 /dev/stdin "$root/usr/lib/systemd/timesyncd.conf.d/40-rpi-sync.conf" << 'END'
[Time]
SaveIntervalSec=5m
END

install -D -m 644 /dev/stdin "$root/usr/lib/systemd/system/regenerate_ssh_host_keys.service" << 'END'
[Unit]
Description=Regenerate SSH host keys
Before=ssh.service
ConditionFileIsExecutable=/usr/bin/ssh-keygen

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm -f /etc/ssh/ssh_host_*_key*; ssh-keygen -A; sync; systemctl disable regenerate_ssh_host_keys'

[Install]
WantedBy=multi-user.target
END
chroot "$root" systemctl --quiet enable regenerate_ssh_host_keys.service

# The lab's own: the virtual wlan0 is a cable. NetworkManager would make an automatic profile for it, wait 60 s for a DHCP
# server, and cloud-init would start SSH only then. A real wlan0 has no automatic profile.
install -D -m 644 /dev/stdin "$root/usr/lib/NetworkManager/conf.d/90-lab.conf" << 'END'
[main]
no-auto-default=interface-name:wlan0
END

: > "$root/etc/machine-id"
