# Runs inside the Pis' root file system. Installs the packages $@ and what a virtual machine with radios needs.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# The initrd only contains the disk's driver, so that it is unpacked quickly.
install -d /etc/initramfs-tools/conf.d
printf 'MODULES=list\nCOMPRESS=zstd\n' > /etc/initramfs-tools/conf.d/virtual-machine

apt-get -q update
apt-get -q install -y --no-install-recommends initramfs-tools
printf 'virtio_pci\nvirtio_blk\next4\n' > /etc/initramfs-tools/modules
apt-get -q install -y --no-install-recommends "$@"

# Unpacked now, since an emulated processor would take half a minute for the radios' modules.
modules=$(echo /usr/lib/modules/*)
for part in net crypto lib fs arch drivers/net/wireless/virtual; do
    find "$modules/kernel/$part" -name '*.ko.xz' -exec xz --decompress {} +
done
depmod "${modules##*/}"
update-initramfs -u

# Without package lists and downloads, as after flashing.
apt-get clean
rm -rf /var/lib/apt/lists/*
systemctl -q disable hostapd.service

echo '/dev/vda / ext4 defaults,noatime 0 1' > /etc/fstab

# sudo checks the password at every task. At the usual cost, an emulated processor takes seconds for the hash.
sed -i 's/pam_unix.so .*yescrypt/& rounds=1/' /etc/pam.d/common-password
grep -q 'yescrypt rounds=1' /etc/pam.d/common-password

# Ansible sends its modules as source, which would be compiled at every task.
install -m 644 -t /usr/lib/python3/dist-packages /recipe/compiled.py
echo 'import compiled' > /usr/lib/python3/dist-packages/compiled.pth
install -d -m 1777 /var/cache/compiled

# As in Raspberry Pi OS, the radios stay off until a country is set.
echo 'options rfkill default_state=0' > /etc/modprobe.d/rfkill_default.conf
install -d -m 700 /var/lib/NetworkManager
printf '[main]\nNetworkingEnabled=true\nWirelessEnabled=false\nWWANEnabled=true\n' > /var/lib/NetworkManager/NetworkManager.state

# The simulated radios' units are in the distribution's folders, so that /etc is the same as after flashing.
install -D -m 755 -t /usr/local/lib/air /recipe/air.sh /recipe/radio.sh
install -m 644 -t /usr/lib/systemd/system /recipe/*.service
systemctl -q enable air.service
