"""A Pi as Raspberry Pi Imager writes it, and a card that is prepared before its first boot."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.virtual_pi import IMAGER, Lab, LabError, Pi, kinds

pytestmark = pytest.mark.pi

_ON_THE_CARD = """
cut -d : -f 1 /etc/passwd | sed 's/^/user /'
ls /etc/ssh | sed 's/^/ssh /'
ls /boot/firmware | sed 's/^/firmware /'
systemctl is-enabled ssh.service | sed 's/^/unit /'
cut -d : -f 1 /proc/net/dev | tail -n +3 | tr -d ' ' | sed 's/^/link /'
echo "first process $(tr '\\0' ' ' < /proc/1/cmdline)"
for name in mnt net pid uts; do echo "namespace $(readlink /proc/self/ns/$name)"; done
(cat /proc/sys/kernel/printk > /proc/sys/kernel/printk) 2> /dev/null || echo 'kernel settings are read-only'
echo 'before the first boot' > /root/prepared
"""


@dataclass(frozen=True)
class Prepared:
    """A Pi, and what the command printed that ran on its card before the first boot."""

    lab: Lab
    pi: Pi
    output: subprocess.CompletedProcess[str]

    def listed(self, what: str) -> set[str]:
        """Return the lines that begin with a word, without it."""
        lines = self.output.stdout.splitlines()
        return {line.removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} ")}


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    with Lab("kinds") as lab:
        pi, done = lab.prepare(
            "pi-north", lambda root: ["chroot", root, "sh", "-c", _ON_THE_CARD], kind=IMAGER
        )
        yield Prepared(lab, pi, done)


def test_imager_s_card_has_neither_a_user_nor_host_keys_nor_ssh(prepared: Prepared) -> None:
    assert not prepared.listed("user") & {"pi", "installer"}
    assert not [name for name in prepared.listed("ssh") if name.startswith("ssh_host_")]
    assert prepared.listed("unit") == {"disabled"}
    assert prepared.listed("firmware") == {"meta-data", "network-config", "user-data"}


def test_a_command_on_a_card_is_separated_from_this_machine(prepared: Prepared) -> None:
    output = prepared.output.stdout
    assert prepared.listed("link") == {"lo", "eth0", "wlan0", "uplink0"}
    assert "first process sh -c" in output
    own = {str(Path("/proc/self/ns", name).readlink()) for name in ("mnt", "net", "pid", "uts")}
    assert len(prepared.listed("namespace") - own) == 4
    assert "kernel settings are read-only" in output
    assert "/smart-meter-virtual-pi/kinds/" not in Path("/proc/self/mountinfo").read_text()


def test_cloud_init_makes_the_user_the_keys_and_netplan_s_profiles(prepared: Prepared) -> None:
    lab, pi = prepared.lab, prepared.pi

    lab.switch_on(pi)

    # There is no radio whose country netplan could set.
    assert pi.wait_until_running() == "degraded"
    failed = pi.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout.splitlines()
    assert [line.split()[0] for line in failed] == ["netplan-regdom.service"]
    assert lab.run("control", lab.ssh(pi, ["id", "-un"])).stdout == "installer\n"
    assert pi.run(["hostname"]).stdout == "pi-north\n"
    assert pi.run(["getent", "passwd", "pi"], check=False).stdout == ""
    assert json.loads(pi.run(["cat", "/run/cloud-init/result.json"]).stdout)["v1"]["errors"] == []
    active = pi.run(["nmcli", "-t", "-f", "DEVICE,FILENAME", "connection", "show", "--active"]).stdout
    assert "eth0:/run/NetworkManager/system-connections/netplan-eth0.nmconnection" in active.splitlines()
    assert pi.run(["find", "/etc/NetworkManager/system-connections", "-type", "f"]).stdout == ""
    assert pi.run(["cat", "/root/prepared"]).stdout == "before the first boot\n"


def test_sudo_asks_imager_s_user_for_the_password(prepared: Prepared) -> None:
    lab, pi = prepared.lab, prepared.pi
    refused = lab.run("control", lab.ssh(pi, ["sudo", "-n", "true"]), check=False)
    assert refused.returncode == 1
    asked = lab.ssh(pi, ["sudo", "-S", "-p", "''", "id", "-un"])
    assert lab.run("control", asked, stdin=f"{pi.password}\n").stdout == "root\n"


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LabError, match="no Pi of the kind 'old'; use plain, imager, bookworm"):
        kinds.named("old")
