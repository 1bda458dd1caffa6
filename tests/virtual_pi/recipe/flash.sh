# Runs inside a Pi's new root file system, before its first boot: what the imager's settings and the first boot's
# one-time services do on a real one. Reads the password and the public key from its environment.
set -eu

echo "pi:$PI_PASSWORD" | chpasswd
install -d -m 700 -o pi -g pi /home/pi/.ssh
echo "$PI_PUBLIC_KEY" > /home/pi/.ssh/authorized_keys
chown pi:pi /home/pi/.ssh/authorized_keys
chmod 600 /home/pi/.ssh/authorized_keys

ssh-keygen -q -A
systemd-machine-id-setup > /dev/null 2>&1

# For the controller to know the Pi by, without the comment behind each.
cat /etc/ssh/ssh_host_*_key.pub | cut -d ' ' -f 1,2
