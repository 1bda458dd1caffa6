"""Which process listens on the port, and which user may bind it."""

import pytest

from smart_meter.doctor.check import Check, Level
from smart_meter.doctor.port import PortFile, judge_permission, judge_port

OURS = "smart-meter (process 812)"


def port(*holders: str, listening: bool = True, service: int | None = 812, by_systemd: bool = False) -> Check:
    return judge_port(502, listening=listening, holders=holders, service=service, by_systemd=by_systemd)


def test_a_port_that_the_service_opened_is_good() -> None:
    check = port(OURS)
    assert (check.level, check.found) == (Level.OK, f"opened by {OURS}")


def test_a_port_that_systemd_opened_is_good_only_with_the_socket_unit() -> None:
    assert port("systemd (process 1)", OURS, by_systemd=True).level is Level.OK
    assert port("systemd (process 1)").level is Level.BAD


def test_another_program_on_the_port_is_named_with_its_process() -> None:
    check = port("mbusd (process 77)", service=None)
    assert (check.level, check.found) == (Level.BAD, "in use by mbusd (process 77)")
    assert "sudo kill 77" in check.fix


def test_a_closed_port_is_bad() -> None:
    closed = port(listening=False)
    assert (closed.level, closed.fix) == (Level.BAD, "sudo systemctl start smart-meter")
    assert "smart-meter.socket" in port(listening=False, by_systemd=True).fix


def test_a_holder_that_this_user_may_not_see_is_unknown() -> None:
    assert port().level is Level.UNKNOWN


def permission(
    number: int = 502,
    *,
    file: PortFile | None = None,
    authbind: bool = True,
    by_systemd: bool = False,
    unprivileged: int | None = 1024,
) -> Check:
    return judge_permission(
        number,
        user="smart-meter",
        by_systemd=by_systemd,
        unprivileged=unprivileged,
        authbind=authbind,
        file=file,
    )


GOOD = PortFile("smart-meter", 0o500)


def test_a_permission_for_only_the_service_user_is_good() -> None:
    assert permission(file=GOOD).level is Level.OK


def test_no_permission_is_needed_above_1023_or_behind_a_socket_unit() -> None:
    assert permission(1502).level is Level.OK
    assert permission(502, unprivileged=500).level is Level.OK
    assert permission(502, unprivileged=None).level is Level.BAD
    assert permission(by_systemd=True).level is Level.OK


@pytest.mark.parametrize(
    ("file", "authbind", "fix"),
    [
        (GOOD, False, "sudo apt-get install authbind"),
        (None, True, "sudo install -o smart-meter -m 0500 /dev/null /etc/authbind/byport/502"),
        (PortFile("pi", 0o500), True, "sudo chown smart-meter /etc/authbind/byport/502"),
        (PortFile("smart-meter", 0o400), True, "sudo chmod 0500 /etc/authbind/byport/502"),
    ],
)
def test_a_missing_permission_is_bad(file: PortFile | None, authbind: bool, fix: str) -> None:
    check = permission(file=file, authbind=authbind)
    assert check.level is Level.BAD
    assert fix in check.fix


def test_a_port_that_every_user_may_bind_is_a_warning() -> None:
    check = permission(file=PortFile("root", 0o777))
    assert (check.level, check.found) == (
        Level.WARNING,
        "owner root, mode 0777: every user may bind it",
    )
