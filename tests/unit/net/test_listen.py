"""Who holds a port, from a made-up /proc, and the explanation of it."""

import errno
import os
import pwd
import socket
from pathlib import Path

import pytest

from smart_meter.net import listen
from smart_meter.net.listen import bind, explain, port_holders

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, state: str, inode: int) -> str:
    queues = "00000000:00000000 00:00000000 00000000"
    return f"   0: {address} 00000000:0000 {state} {queues}     0        0 {inode} 1 0\n"


def process(proc: Path, pid: int, comm: str, arguments: list[str], links: list[str]) -> None:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text(f"{comm}\n")
    (folder / "cmdline").write_bytes(b"\0".join(argument.encode() for argument in arguments) + b"\0")
    for number, link in enumerate(links):
        (folder / "fd" / str(number)).symlink_to(link)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    # As the service's sandbox leaves it: with no /proc/net.
    (tmp_path / "1" / "net").mkdir(parents=True)
    (tmp_path / "self").symlink_to("1")
    (tmp_path / "self" / "net" / "tcp").write_text(
        HEAD
        + row("00000000:01F6", "0A", 700)
        + row("0100007F:01F6", "01", 701)
        + row("00000000:0016", "0A", 702)
    )
    (tmp_path / "self" / "net" / "tcp6").write_text(
        HEAD + row("00000000000000000000000000000000:01BB", "0A", 703)
    )
    process(tmp_path, 10, "sshd", ["sshd"], ["/dev/null", "socket:[702]"])
    process(tmp_path, 9, "mbusd", ["/usr/bin/mbusd", "-d"], ["/dev/null", "socket:[700]"])
    process(tmp_path, 30, "client", ["client"], ["socket:[701]"])
    process(tmp_path, 31, "nginx", ["nginx"], ["socket:[703]"])
    return tmp_path


def test_the_listener_is_found_and_its_clients_are_not(proc: Path) -> None:
    assert port_holders(502, proc) == ["mbusd (process 9)"]


def test_a_listener_on_ipv6_is_found(proc: Path) -> None:
    assert port_holders(443, proc) == ["nginx (process 31)"]


def test_all_processes_that_share_a_port_are_named_in_order(proc: Path) -> None:
    process(proc, 100, "worker", ["worker"], ["socket:[700]"])
    assert port_holders(502, proc) == ["mbusd (process 9)", "worker (process 100)"]


def test_a_python_program_is_named_by_what_it_runs(proc: Path) -> None:
    process(proc, 8, "python3", ["python3", "smart_meter_server.py"], ["socket:[700]"])
    assert port_holders(502, proc)[0] == "python3 smart_meter_server.py (process 8)"


def test_a_program_can_not_write_to_the_terminal_with_its_name(proc: Path) -> None:
    process(proc, 8, "python3", ["python3", "\x1b[2J" + "x" * 200], ["socket:[700]"])
    assert port_holders(502, proc)[0] == "python3 ?[2J" + "x" * 67 + "… (process 8)"


def test_a_free_port_has_no_holder(proc: Path) -> None:
    assert port_holders(503, proc) == []


def test_a_machine_without_these_tables_has_no_holder_to_name(tmp_path: Path) -> None:
    assert port_holders(502, tmp_path) == []


def test_a_port_in_use_by_who_knows_whom_says_how_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "port_holders", lambda _: [])
    text = explain(OSError(errno.EADDRINUSE, "Address already in use"), "127.0.0.1", 502)
    assert "port 502 is in use by a program that this user may not see" in text
    assert "`sudo ss -ltnp 'sport = :502'`" in text


def test_a_port_in_use_names_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "port_holders", lambda _: ["mbusd (process 9)"])
    text = explain(OSError(errno.EADDRINUSE, "Address already in use"), "127.0.0.1", 502)
    assert text.startswith("port 502 is in use by mbusd (process 9).")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_missing_permission_names_authbind_its_file_and_the_trial(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "_user", lambda: "pi")
    text = explain(OSError(number, "Permission denied"), "127.0.0.1", 502)
    for expected in (
        "user pi",
        "authbind --deep",
        "/etc/authbind/byport/502",
        "-o pi -m 0500",
        "--trial",
        "1502",
    ):
        assert expected in text


def test_the_user_is_who_runs_it_and_not_who_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    text = explain(OSError(errno.EACCES, "Permission denied"), "127.0.0.1", 502)
    assert f"user {pwd.getpwuid(os.geteuid()).pw_name} may not" in text


def test_an_address_of_another_machine_says_how_to_see_ones_own() -> None:
    text = explain(OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "192.0.2.1", 502)
    assert text.startswith("no address 192.0.2.1 on this machine. `ip -br addr` shows")


@pytest.mark.parametrize(("number", "port"), [(errno.EACCES, 5020), (errno.ENOBUFS, 502)])
def test_any_other_failure_is_shown_as_it_is(number: int, port: int) -> None:
    text = explain(OSError(number, "Because"), "127.0.0.1", port)
    assert text == f"can't listen on 127.0.0.1:{port}: Because."


def test_an_ipv6_listener_takes_ipv4_clients_whatever_the_system_prefers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Strict(socket.socket):
        """As with net.ipv6.bindv6only = 1."""

        def __init__(self, family: int, kind: int) -> None:
            super().__init__(family, kind)
            self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)

    monkeypatch.setattr("smart_meter.net.listen.socket.socket", Strict)
    with bind("::", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
