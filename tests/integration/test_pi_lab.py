"""The virtual Pis themselves: freshly flashed, isolated from this machine, and removed without a trace."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.virtual_pi import CommandError, Lab, LabError, Pi, cgroups, places, removal

pytestmark = pytest.mark.pi

LAB = "labtest"
_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LAB) as lab:
        lab.boot_many(["pi-north", "pi-south"])
        yield lab


@pytest.fixture
def north(lab: Lab) -> Pi:
    return lab.pi("pi-north")


@pytest.fixture
def south(lab: Lab) -> Pi:
    return lab.pi("pi-south")


def ssh(
    lab: Lab, pi: Pi, *command: str, stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    return lab.run("control", lab.ssh(pi, command), stdin=stdin, check=check)


def traces_of(name: str) -> list[str]:
    """Return everything on this machine that belongs to the lab, found independently of the lab's removal."""
    links = subprocess.check_output(["ip", "-o", "link"], text=True)
    tables = subprocess.check_output(["nft", "list", "tables"], text=True).split("\n")
    mounts = Path("/proc/self/mountinfo").read_text()
    commands = [
        file.read_bytes()
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if file.exists() and file.parent.exists()
    ]
    return [
        *(str(file) for file in Path("/run/netns").glob(f"smv-{name}-*")),
        *(link for link in links.splitlines() if places.host_link(name) in link),
        *(table for table in tables if table.endswith(f" smv_{name}")),
        *(line for line in mounts.splitlines() if f"/smart-meter-virtual-pi/{name}/" in line),
        *(command.decode() for command in commands if f"smv-{name}-".encode() in command),
        *(
            str(path)
            for path in (places.RUN / name, places.DISK / name, cgroups.base() / name)
            if path.exists()
        ),
    ]


def test_a_fresh_pi_boots_without_a_failed_unit(north: Pi) -> None:
    assert north.wait_until_running() == "running"
    assert north.run(["systemctl", "--failed", "--no-legend"]).stdout == ""


def test_a_fresh_pi_is_like_raspberry_pi_os_lite_after_flashing(north: Pi) -> None:
    assert north.run(["hostname"]).stdout == "raspberrypi\n"
    assert "trixie" in north.run(["cat", "/etc/os-release"]).stdout
    for absent in ("ufw", "authbind", "nft", "iptables", "pip"):
        assert north.run(["which", absent], check=False).returncode == 1, absent
    for present in ("python3", "nmcli", "sudo", "wpa_supplicant", "rfkill"):
        north.run(["which", present])
    assert north.run(["find", "/etc/NetworkManager/system-connections", "-type", "f"]).stdout == ""
    assert north.run(["find", "/boot/firmware", "-type", "d"]).stdout == "/boot/firmware\n"


def test_networkmanager_manages_all_three_links(north: Pi) -> None:
    listing = north.run(["nmcli", "--terse", "--fields", "DEVICE,TYPE,STATE,CONNECTION", "device"]).stdout
    devices = {line.split(":")[0]: line.split(":")[1:] for line in listing.splitlines()}
    assert devices["eth0"][:2] == ["ethernet", "connected"]
    assert devices["eth0"][2].startswith("Wired connection ")
    assert devices["uplink0"] == ["ethernet", "connected", "uplink0"]
    # There is no DHCP server: it is trying to connect, or waiting for the next attempt.
    assert devices["wlan0"][0] == "ethernet"
    assert devices["wlan0"][1].startswith(("connecting", "disconnected"))


def test_the_controller_logs_in_with_its_key_and_checks_the_host_key(lab: Lab, north: Pi) -> None:
    assert ssh(lab, north, "id", "-un").stdout == "pi\n"


def test_the_controller_refuses_another_host_key(lab: Lab, north: Pi, south: Pi) -> None:
    impostor = lab.run("control", lab.ssh(north, ["true"], address=south.bootstrap_address), check=False)
    assert impostor.returncode == 255
    assert "Host key verification failed" in impostor.stderr


def test_sudo_asks_for_the_password(lab: Lab, north: Pi) -> None:
    assert ssh(lab, north, "sudo", "-n", "true", check=False).returncode == 1
    wrong = ssh(lab, north, "sudo", "-S", "-k", "id", "-un", stdin="wrong\n", check=False)
    assert wrong.returncode == 1
    right = ssh(lab, north, "sudo", "-S", "-k", "-p", "''", "id", "-un", stdin=f"{north.password}\n")
    assert right.stdout == "root\n"


def test_a_pi_reaches_the_package_archive(north: Pi) -> None:
    north.run(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"], timeout=120)
    assert "Candidate: (none)" not in north.run(["apt-cache", "policy", "ufw"]).stdout


def test_each_pi_has_its_own_identity(north: Pi, south: Pi) -> None:
    for file in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/sys/class/net/eth0/address"):
        assert north.run(["cat", file]).stdout != south.run(["cat", file]).stdout, file
    assert north.bootstrap_address != south.bootstrap_address


def test_field_control_and_stranger_are_isolated(lab: Lab) -> None:
    places_and_others = {
        "field": ("control", "stranger"),
        "control": ("field", "stranger"),
        "stranger": ("field", "control"),
    }
    for place, others in places_and_others.items():
        assert lab.address(place) in lab.run(place, ["ip", "address"]).stdout
        for other in others:
            route = lab.run(place, ["ip", "route", "get", lab.address(other)], check=False)
            assert "Network is unreachable" in route.stderr, f"{place} to {other}: {route.stdout}"


def test_a_pi_does_not_reach_private_networks_of_the_machine(lab: Lab, north: Pi) -> None:
    reach = "import socket; socket.create_connection(('192.168.200.1', 502), timeout=5)"
    refused = north.run(["python3", "-c", reach], check=False)
    assert "No route to host" in refused.stderr
    assert "dev uplink0" in north.run(["ip", "route", "get", "192.168.200.1"]).stdout


def test_an_interface_loses_its_carrier_when_the_cable_is_unplugged(north: Pi) -> None:
    north.link("wlan0").down()
    try:
        assert north.run(["cat", "/sys/class/net/wlan0/carrier"]).stdout == "0\n"
        assert north.run(["cat", "/sys/class/net/eth0/carrier"]).stdout == "1\n"
    finally:
        north.link("wlan0").up()
    assert north.run(["cat", "/sys/class/net/wlan0/carrier"]).stdout == "1\n"


def test_a_networkmanager_checkpoint_can_be_created(north: Pi) -> None:
    manager = "org.freedesktop.NetworkManager"
    call = ["busctl", "call", manager, f"/{manager.replace('.', '/')}", manager]
    path = north.run([*call, "CheckpointCreate", "aouu", "0", "30", "6"]).stdout.split('"')[1]
    north.run([*call, "CheckpointDestroy", "o", path])


def test_network_settings_of_the_kernel_are_writable(north: Pi) -> None:
    north.run(["sysctl", "-w", "net.ipv4.conf.all.rp_filter=1"])
    assert north.run(["cat", "/proc/sys/net/ipv4/conf/all/rp_filter"]).stdout == "1\n"


def test_a_unit_s_address_rules_are_enforced(north: Pi) -> None:
    probe = ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 22), timeout=2)"]
    unit = ["systemd-run", "--wait", "--collect", "--quiet", "--property=IPAddressDeny=any"]
    north.run([*unit, "--property=IPAddressAllow=localhost", *probe])
    assert north.run([*unit, *probe], check=False).returncode == 1


_CAPABILITIES = ["grep", "^Cap", "/proc/self/status"]
_UNCONFINED = ("CAP_SYS_TIME", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_MKNOD", "CAP_SYSLOG")


def capabilities_of(status: str) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines()}


def bits(names: Sequence[str]) -> int:
    # linux/capability.h
    numbers = {
        "CAP_SYS_MODULE": 16,
        "CAP_SYS_RAWIO": 17,
        "CAP_SYS_BOOT": 22,
        "CAP_SYS_TIME": 25,
        "CAP_MKNOD": 27,
        "CAP_SYSLOG": 34,
    }
    return sum(1 << numbers[name] for name in names)


def test_a_command_inside_a_pi_has_exactly_the_capabilities_of_the_pi_s_root(north: Pi) -> None:
    own = capabilities_of(north.run(["grep", "^Cap", "/proc/1/status"]).stdout)
    tool = [sys.executable, "-m", "tests.virtual_pi", "run", "--lab", LAB, "--in", north.name, "--"]
    by_tool = subprocess.run(
        [*tool, *_CAPABILITIES], cwd=_REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for status in (north.run(_CAPABILITIES).stdout, by_tool):
        entered = capabilities_of(status)
        assert entered["CapBnd"] == entered["CapEff"] == entered["CapPrm"] == own["CapBnd"]
        assert entered["CapInh"] == entered["CapAmb"] == 0
        assert entered["CapBnd"] & bits(_UNCONFINED) == 0


def test_a_command_in_a_lab_s_network_has_no_capability_to_change_the_machine(lab: Lab) -> None:
    for place in ("control", "field", "stranger"):
        entered = capabilities_of(lab.run(place, _CAPABILITIES).stdout)
        assert entered["CapBnd"] & bits([*_UNCONFINED, "CAP_SYS_BOOT"]) == 0, place


def test_the_machine_s_clock_can_not_be_set_inside_a_pi(lab: Lab, north: Pi) -> None:
    # Check the capabilities first, so that a mistake here does not change the machine.
    for entered in (north.run(_CAPABILITIES).stdout, lab.run("control", _CAPABILITIES).stdout):
        assert capabilities_of(entered)["CapBnd"] & bits(["CAP_SYS_TIME"]) == 0
    wall_clock, monotonic = time.time(), time.monotonic()
    refused = north.run(["date", "--set", "2001-01-01"], check=False)
    assert (refused.returncode, refused.stderr) == (1, "date: cannot set date: Operation not permitted\n")
    sudo = ssh(lab, north, "sudo -S -p '' date --set 2001-01-01", stdin=f"{north.password}\n", check=False)
    assert "Operation not permitted" in sudo.stderr
    north.run(["timedatectl", "set-time", "2001-01-01"], check=False)
    assert abs((time.time() - wall_clock) - (time.monotonic() - monotonic)) < 5


def test_the_machine_s_kernel_can_not_be_changed_inside_a_pi(north: Pi) -> None:
    # Check the capabilities first, so that a mistake here does not change the machine.
    assert capabilities_of(north.run(_CAPABILITIES).stdout)["CapBnd"] & bits(_UNCONFINED) == 0
    attempts = {
        "a device": (["mknod", "/dev/tried", "c", "1", "3"], "Operation not permitted"),
        "a kernel setting": (
            ["sh", "-c", "cat /proc/sys/kernel/printk > /proc/sys/kernel/printk"],
            "Read-only file system",
        ),
        "a driver's setting": (["sh", "-c", ": >> /sys/kernel/uevent_helper"], "Read-only file system"),
        "a module": (
            [
                "python3",
                "-c",
                "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); c.delete_module(b'tried', 0);"
                "raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))",
            ],
            # A kernel without modules does not have this system call.
            "Function not implemented" if not Path("/proc/modules").exists() else "Operation not permitted",
        ),
        "the kernel's messages": (["dmesg", "--clear"], "Operation not permitted"),
        "a file of the machine": (["sh", "-c", ": >> /run/host/os-release"], "Read-only file system"),
    }
    for what, (command, why) in attempts.items():
        refused = north.run(command, check=False)
        assert refused.returncode != 0, what
        assert why in refused.stderr, what
    for absent in ("/dev/kmsg", "/dev/rtc0", "/dev/vda", "/dev/sda", "/dev/mem", "/proc/sysrq-trigger"):
        assert north.run(["test", "-e", absent], check=False).returncode == 1, absent


def test_a_unit_with_private_devices_runs_in_a_pi(north: Pi) -> None:
    unit = ["systemd-run", "--wait", "--collect", "--quiet", "--pipe", "--property=PrivateDevices=yes"]
    assert north.run([*unit, "stat", "--format=%F %t", "/dev/null"]).stdout == "character special file 1\n"


def test_a_failed_command_is_reported_with_its_place_and_output(lab: Lab, north: Pi) -> None:
    with pytest.raises(CommandError, match=r"(?s)pi-north: ls /nowhere: exit status 2.*No such file"):
        north.run(["ls", "/nowhere"])
    with pytest.raises(CommandError, match=r"(?s)control: ls /nowhere: exit status 2.*No such file"):
        lab.run("control", ["ls", "/nowhere"])


def test_a_command_that_takes_too_long_is_killed_inside_the_pi(north: Pi) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        north.run(["sleep", "87654"], timeout=0.2)
    assert north.run(["pgrep", "--full", "^sleep 87654"], check=False).returncode == 1


def test_files_survive_a_reboot_but_kernel_settings_do_not(north: Pi) -> None:
    forwarding = ["cat", "/proc/sys/net/ipv4/ip_forward"]
    assert north.run(forwarding).stdout == "0\n"
    north.run(["tee", "/home/pi/kept"], stdin="before the reboot")
    before = north.run(["cat", "/etc/machine-id"]).stdout
    north.run(["sysctl", "-w", "net.ipv4.ip_forward=1"])
    north.reboot()
    assert north.run(["cat", "/home/pi/kept"]).stdout == "before the reboot"
    assert north.run(["cat", "/etc/machine-id"]).stdout == before
    assert north.run(forwarding).stdout == "0\n"


def test_synced_files_survive_a_power_cut_but_processes_do_not(lab: Lab, south: Pi) -> None:
    south.run(["tee", "/home/pi/kept"], stdin="before the cut")
    south.run(["sync"])
    south.run(["systemd-run", "--unit=lamp", "sleep", "infinity"])
    south.power_cut()
    assert not south.is_on
    with pytest.raises(LabError, match="pi-south is off"):
        south.run(["true"])
    south.power_on()
    assert south.run(["cat", "/home/pi/kept"]).stdout == "before the cut"
    assert south.run(["systemctl", "is-active", "lamp"], check=False).stdout == "inactive\n"
    south.wait_for(
        lambda: ssh(lab, south, "true", check=False).returncode == 0, 30, "does not answer at its old address"
    )


def test_a_power_cut_loses_what_is_not_on_the_card_yet(south: Pi) -> None:
    south.run(["tee", "/home/pi/synced"], stdin="written and synced")
    south.run(["sync"])
    south.run(["tee", "/home/pi/new"], stdin="written only")
    south.run(["sh", "-c", "echo written only > /home/pi/.new && mv /home/pi/.new /home/pi/renamed"])

    south.power_cut()
    south.power_on()

    assert south.run(["cat", "/home/pi/synced"]).stdout == "written and synced"
    for name in ("new", "renamed"):
        found = south.run(["cat", f"/home/pi/{name}"], check=False).stdout
        assert found == "", f"/home/pi/{name} survived though it was never synced"


def test_a_pi_can_be_switched_on_again_after_a_shutdown(south: Pi) -> None:
    south.power_off()
    south.power_on()
    assert south.run(["true"]).returncode == 0


def test_another_process_can_use_the_lab_but_not_remove_it(lab: Lab, north: Pi) -> None:
    tool = [sys.executable, "-m", "tests.virtual_pi"]
    inside = subprocess.run(
        [*tool, "run", "--lab", LAB, "--in", "pi-north", "--", "cat", "/proc/1/comm"],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert inside.stdout == "systemd\n"
    refused = subprocess.run(
        [*tool, "down", "--lab", LAB], cwd=_REPOSITORY, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert f"lab '{LAB}' is in use by another process" in refused.stderr
    assert north.is_on


def test_a_lab_name_with_a_hyphen_is_refused() -> None:
    with pytest.raises(LabError, match="lab name 'a-b'"):
        Lab("a-b")


def test_what_a_killed_run_left_behind_can_be_removed() -> None:
    name = "labkilled"
    killed = (
        "import time\n"
        "from tests.virtual_pi import Lab\n"
        f"lab = Lab({name!r})\n"
        "lab.up()\n"
        "lab.popen('field', ['sleep', 'infinity'])\n"
        "lab.boot('pi-lost')\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", killed], cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        run.send_signal(signal.SIGKILL)
    assert name in removal.labs()
    # Its Pi is still running. The next lab of this name removes it.
    assert Lab.attach(name).pi("pi-lost").is_on
    Lab(name).down()
    assert traces_of(name) == []
    assert name not in removal.labs()


def test_a_lab_is_removed_at_the_end_of_its_context() -> None:
    name = "labshort"
    with Lab(name):
        assert traces_of(name) != []
    assert traces_of(name) == []
