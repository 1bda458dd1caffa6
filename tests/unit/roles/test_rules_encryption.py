"""Secrets in plain text, wherever the inventory has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from roles.preflight.rules.encryption import check_encryption
from roles.preflight.rules.variables import Variables, load_roles
from tests.unit.roles.site import REPOSITORY, VAULT_PASSWORD, encrypted

PLAIN = "correct-horse-battery"


def problems_of(folder: Path, text: str) -> list[str]:
    file = folder / "all.yml"
    file.write_text(text, encoding="utf-8")
    loader = DataLoader()
    loader.set_vault_secrets([("default", VaultSecret(VAULT_PASSWORD.encode()))])
    raw = loader.load_from_file(str(file), trusted_as_template=True)
    found = list(check_encryption(Variables("pi", raw, load_roles(REPOSITORY), loader)))
    assert not any(PLAIN in each.message for each in found)
    return [each.variable for each in found]


@pytest.mark.parametrize(
    "name",
    [
        "network_field_psk",
        "ansible_become_password",
        "ansible_become_pass",
        "ansible_password",
        "vault_of_a_friend",
    ],
)
def test_a_secret_in_plain_text_is_reported(tmp_path: Path, name: str) -> None:
    assert problems_of(tmp_path, f"{name}: {PLAIN}\n") == [name]


def test_digits_are_a_secret_too(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "network_field_psk: 1234567890\n") == ["network_field_psk"]


def test_what_a_secret_refers_to_is_where_it_is_reported(tmp_path: Path) -> None:
    text = f"network_field_psk: '{{{{ wifi }}}}'\nwifi: '{{{{ house | default(1) }}}}'\nhouse: {PLAIN}\n"
    assert problems_of(tmp_path, text) == ["house"]


def test_what_only_chooses_a_secret_is_none(tmp_path: Path) -> None:
    text = "network_field_psk: '{{ passphrases[preflight_site] }}'\npreflight_site: north\n"
    assert problems_of(tmp_path, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "network_field_psk: ''\n",
        "network_field_psk: '{{ vault_network_field_psk }}'\n",
        "network_field_psk: '{{ network_field_psk }}'\n",
        f"network_field_ssid: {PLAIN}\n",
    ],
)
def test_what_is_no_secret_or_not_here_passes(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, text) == []


def test_an_encrypted_file_and_an_encrypted_value_pass(tmp_path: Path) -> None:
    assert problems_of(tmp_path, encrypted(f"network_field_psk: {PLAIN}\n")) == []
    value = "".join(f"  {line}\n" for line in encrypted(PLAIN).splitlines())
    assert problems_of(tmp_path, f"network_field_psk: !vault |\n{value}") == []
