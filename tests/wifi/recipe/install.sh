# Runs inside the Pis' root file system ($@ are the packages): adds what a virtual machine with radios has.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# The initrd carries the disk's driver alone, and so is read and unpacked in no time.
install -d /etc/initramfs-tools/conf.d
printf 'MODULES=list\nCOMPRESS=zstd\n' > /etc/initramfs-tools/conf.d/virtual-machine

apt-get -q update
apt-get -q install -y --no-install-recommends initramfs-tools
printf 'virtio_pci\nvirtio_blk\next4\n' > /etc/initramfs-tools/modules
apt-get -q install -y --no-install-recommends "$@"

# An emulated processor takes half a minute to unpack the radios' modules.
modules=$(echo /usr/lib/modules/*)
for part in net crypto lib fs arch drivers/net/wireless/virtual; do
    find "$modules/kernel/$part" -name '*.ko.xz' -exec xz --decompress {} +
done
depmod "${modules##*/}"
update-initramfs -u

# As fresh as after flashing: no package lists, no downloads.
apt-get clean
rm -rf /var/lib/apt/lists/*
systemctl -q disable hostapd.service

echo '/dev/vda / ext4 defaults,noatime 0 1' > /etc/fstab

# sudo asks for the password at every task, and an emulated processor takes seconds for a hash at its usual cost.
sed -i 's/pam_unix.so .*yescrypt/& rounds=1/' /etc/pam.d/common-password
grep -q 'yescrypt rounds=1' /etc/pam.d/common-password

# Ansible's modules come as source, and would be compiled at every task.
install -m 644 -t /usr/lib/python3/dist-packages /recipe/compiled.py
echo 'import compiled' > /usr/lib/python3/dist-packages/compiled.pth
install -d -m 1777 /var/cache/compiled

# As Raspberry Pi OS has it: the radios stay off until somebody has said where they are.
echo 'options rfkill default_state=0' > /etc/modprobe.d/rfkill_default.conf
install -d -m 700 /var/lib/NetworkManager
printf '[main]\nNetworkingEnabled=true\nWirelessEnabled=false\nWWANEnabled=true\n' > /var/lib/NetworkManager/NetworkManager.state

# The rig, in the distribution's folders, so that /etc is as fresh as after flashing.
install -D -m 755 -t /usr/local/lib/air /recipe/air.sh /recipe/radio.sh
install -m 644 -t /usr/lib/systemd/system /recipe/*.service
systemctl -q enable air.service
