"""The variables with which Ansible connects to a Pi.

Ansible ignores a misspelt one, and does not name the file of a malformed one before a Pi is touched.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from ansible.constants import INTERNAL_STATIC_VARS
from roles.preflight.rules.problem import Problem, Values, problem, show

# As the plugins ssh, sudo, su and sh document them, and the keywords of a play; a test compares them.
VARIABLES = frozenset(
    f"ansible_{name}"
    for name in (
        *("async_dir", "become", "become_exe", "become_flags", "become_method", "become_pass"),
        *("become_password", "become_user", "common_remote_group", "connection", "control_path"),
        *("control_path_dir", "host", "host_key_checking", "password", "pipelining", "port"),
        *("private_key", "private_key_file", "private_key_passphrase", "python_interpreter", "remote_tmp"),
        *("scp_executable", "scp_extra_args", "sftp_batch_mode", "sftp_executable", "sftp_extra_args"),
        *("shell_allow_world_readable_temp", "shell_executable", "shell_type", "ssh_args"),
        *("ssh_common_args", "ssh_executable", "ssh_extra_args", "ssh_host", "ssh_host_key_checking"),
        *("ssh_pass", "ssh_password", "ssh_password_mechanism", "ssh_pipelining", "ssh_pkcs11_provider"),
        *("ssh_port", "ssh_private_key", "ssh_private_key_file", "ssh_private_key_passphrase"),
        *("ssh_retries", "ssh_timeout", "ssh_transfer_method", "ssh_use_tty", "ssh_user"),
        *("ssh_verbosity", "sshpass_prompt", "su_exe", "su_flags", "su_pass", "su_prompt_l10n", "su_user"),
        *("sudo_chdir", "sudo_exe", "sudo_flags", "sudo_pass", "sudo_user", "system_tmpdirs", "timeout"),
        "user",
    )
)

_PORTS = ("ansible_port", "ansible_ssh_port")
_NAMES = {
    "ansible_host": "the Pi's address or name",
    "ansible_ssh_host": "the Pi's address or name",
    "ansible_user": "the user to log in as",
    "ansible_ssh_user": "the user to log in as",
    "ansible_connection": "ssh",
}
SECRETS = (
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_ssh_password",
)
"""Ansible's own login secrets."""
# check_sudo reports ansible_become_password.
_PASSWORDS = SECRETS[1:]
CHECKED = (*_PORTS, *_NAMES, *_PASSWORDS)
"""The variables that `check_connection` reads."""

_USER = re.compile(r"[^\s-]\S*")


def check_connection(values: Values) -> Iterator[Problem]:
    """Check the variables that Ansible would use, or leave out, without naming the file they came from."""
    for name in _PORTS:
        if name in values and not is_port(port := values[name]):
            hint = "give the port of the Pi's SSH server, or leave the line out for 22"
            wrong = "is empty" if port is None or port == "" else f"{show(port)} is not a port"
            yield problem(name, f"{wrong}; {hint}")
    for name, what in _NAMES.items():
        if name in values:
            yield from _check_name(name, values[name], what)
    for name in _PASSWORDS:
        value = values.get(name, "given")
        if value is None or value == "":
            fix = "give the password and keep it in Ansible Vault, or leave the line out"
            yield problem(name, f"is empty; {fix}")
        elif not isinstance(value, str):
            yield problem(name, "is not text to YAML (its value is not shown); put it in quotation marks")


def _check_name(name: str, value: object, what: str) -> Iterator[Problem]:
    hint = f"give {what}, or leave the line out"
    if value is None or (value == "" and name != "ansible_host"):
        # check_reach reports an ansible_host of no characters.
        yield problem(name, f"is empty; {hint}")
    elif not isinstance(value, str):
        yield problem(name, f"{show(value)} is not text to YAML; give {what}, in quotation marks")
    elif name.endswith("_user") and value and not _USER.fullmatch(value):
        yield problem(name, f"{show(value)} is not the name of a user; {hint}")


def is_port(value: object) -> bool:
    """Return whether a value is a port, as a number or its digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return False
    # Ansible converts digits; int() itself would also take blanks, signs and underscores.
    return re.fullmatch(r"[0-9]{1,5}", str(value)) is not None and 1 <= int(value) <= 65535


def misspelt(name: str) -> str | None:
    """Return the variable of Ansible's that is probably meant by a name, or None."""
    plain = name.lower().replace("-", "_")
    if name in VARIABLES or name in INTERNAL_STATIC_VARS or not plain.startswith("ansible_"):
        return None
    if name.endswith("_interpreter"):
        # It may be set for any language.
        return None
    if plain in VARIABLES:
        return plain
    return next(iter(difflib.get_close_matches(plain, VARIABLES, n=1, cutoff=0.85)), None)
