# Runs inside a Pi's new root file system before its first boot. On a real Pi, the imager's settings and the one-time
# services of the first boot do this. Reads the password and the public key from its environment.
set -eu

echo "pi:$PI_PASSWORD" | chpasswd
install -d -m 700 -o pi -g pi /home/pi/.ssh
echo "$PI_PUBLIC_KEY" > /home/pi/.ssh/authorized_keys
chown pi:pi /home/pi/.ssh/authorized_keys
chmod 600 /home/pi/.ssh/authorized_keys

ssh-keygen -q -A
systemd-machine-id-setup > /dev/null 2>&1

# The keys that the controller will accept for this Pi, without their comments.
cat /etc/ssh/ssh_host_*_key.pub | cut -d ' ' -f 1,2
