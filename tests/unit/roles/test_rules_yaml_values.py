"""Values that YAML reads as something else than they look like."""

from __future__ import annotations

from pathlib import Path

import pytest
from roles.preflight.rules.yaml_values import misread, misread_in

VISIBLE = {"concentrator_port", "concentrator_meters", "appliance_hostname", "ansible_port"}


def lines(text: str, hosts: set[str] | None = None) -> list[str]:
    return [found.shown for found in misread(text, VISIBLE, hosts)]


BASE_60 = "YAML, which reads digits with a colon in base 60; put text in quotation marks"
BASE_8 = "YAML, which reads a number with a leading zero in base 8; put text in quotation marks"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("8:22", f"8:22 is 502 to {BASE_60}, or write the number that is meant"),
        ("1:30.5", f"1:30.5 is 90.5 to {BASE_60}, or write the number that is meant"),
        ("0123", f"0123 is 83 to {BASE_8}, or leave the zero out"),
        ("-010", f"-010 is -8 to {BASE_8}, or leave the zero out"),
        ("0_17", f"0_17 is 15 to {BASE_8}, or leave the zero out"),
        ("2026-11-26", "2026-11-26 is a date to YAML; put it in quotation marks"),
    ],
)
def test_what_looks_like_something_else_is_found(value: str, message: str) -> None:
    assert lines(f"---\n# A comment.\nconcentrator_port: {value}\n") == [f"3: concentrator_port: {message}"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "502",
            "0",
            "07",
            "08",
            "1_000",
            "0x8000",
            "0b11",
            "1.5",
            "1e3",
            ".nan",
            "true",
            "",
            "25:61",
            "a:b",
        ),
        *('"8:22"', "'0123'", "!!str 0123", "{}", "[]", "2026-11"),
    ],
)
def test_what_is_read_as_it_looks_passes(value: str) -> None:
    assert lines(f"concentrator_port: {value}\n") == []


def test_a_value_within_a_list_is_located() -> None:
    text = "concentrator_meters:\n  - name: pv\n    measurements:\n      - {name: P, address: 040001}\n"
    assert lines(text) == [
        "4: concentrator_meters[0].measurements[0].address: "
        f"040001 is 16385 to {BASE_8}, or leave the zero out"
    ]


def test_a_value_that_may_be_a_secret_is_not_shown() -> None:
    assert lines("network_field_psk: 01234567\nmine: [8:22, 2026-11-26]\n") == [
        "1: network_field_psk: YAML reads a number with a leading zero in base 8 (the value is not shown); "
        "put text in quotation marks, or leave the zero out",
        "2: mine[0]: YAML reads digits with a colon in base 60 (the value is not shown); "
        "put text in quotation marks, or write the number that is meant",
        "2: mine[1]: the value is a date to YAML; put it in quotation marks",
    ]


HOSTS = """
smart_meters:
  vars:
    ansible_port: 8:22
  children:
    site_north:
      hosts:
        pi-north:
          ansible_port: 0123
        pi-off: {ansible_port: 0123}
      vars: {concentrator_port: 8:22}
"""


def test_in_a_file_of_hosts_and_groups_the_key_is_the_variables() -> None:
    assert [line.partition(": ")[0] + line.split(": ")[1] for line in lines(HOSTS, {"pi-north"})] == [
        "4ansible_port",
        "9ansible_port",
        "11concentrator_port",
    ]


def test_aliases_and_broken_files_end(tmp_path: Path) -> None:
    assert lines("a: &a [8:22, *a]\nb: *a\n") == lines("a: [8:22]\n")
    assert lines("a: [\n") == []
    (tmp_path / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")
    (tmp_path / "latin.yml").write_bytes(b"a: \xe4\n")
    (tmp_path / "good.yml").write_text("a: 8:22\n")
    assert misread_in(tmp_path / "vault.yml", VISIBLE) == []
    assert misread_in(tmp_path / "latin.yml", VISIBLE) == []
    assert misread_in(tmp_path / "none.yml", VISIBLE) == []
    assert len(misread_in(tmp_path / "good.yml", VISIBLE)) == 1
