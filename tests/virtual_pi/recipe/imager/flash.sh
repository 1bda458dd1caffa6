# Runs inside a Pi's new root file system before its first boot. Writes the three files that Raspberry Pi Imager writes to
# the boot partition; cloud-init reads them at the first boot. Reads the host name, the password and the public key from its
# environment. Prints nothing: the Pi generates its host keys at the first boot.
set -eu

hash=$(printf '%s' "$PI_PASSWORD" | openssl passwd -6 -stdin)

cat > /boot/firmware/meta-data << 'END'
dsmode: local
instance_id: rpi-imager-1764174000000
END

# Without `keyboard:`, since the container has no console-setup, and without `packages:`, which would delay SSH.
cat > /boot/firmware/user-data << END
#cloud-config
hostname: $PI_NAME
manage_etc_hosts: true

apt:
  conf: |
    Acquire {
      Check-Date "false";
    };

timezone: Europe/Berlin
user:
  name: installer
  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo
  shell: /bin/bash
  lock_passwd: false
  passwd: "$hash"
  ssh_authorized_keys:
    - $PI_PUBLIC_KEY
  sudo: null
ssh_pwauth: false
runcmd:
  - [ systemctl, enable, --now, ssh ]
END

# The password is the hash that Imager makes of the passphrase and the name of the network (PBKDF2).
cat > /boot/firmware/network-config << 'END'
network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp6: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "Somebody's \"home\"":
          password: "9f64bd0e5ea1ca5d1bc2d4a2d8d7e3dfb4d34b9dc0c7d7e2d9c4b0a1e2f3a4b5"
      optional: true
END

systemd-machine-id-setup > /dev/null 2>&1
