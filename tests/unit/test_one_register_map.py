"""The register map stands in the program; whatever repeats it for people or for Ansible has to agree."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_roles_default_meters_are_the_programs() -> None:
    defaults = yaml.safe_load((REPOSITORY / "roles/concentrator/defaults/main.yml").read_text())

    [meter] = defaults["concentrator_meters"]

    assert meter["unit_id"] == 1
    assert [measurement_of(record) for record in meter["measurements"]] == list(PV_MAP.measurements)


def test_the_role_accepts_and_explains_each_data_type() -> None:
    role = REPOSITORY / "roles/concentrator"
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())
    meters = specs["argument_specs"]["main"]["options"]["concentrator_meters"]
    names = [kind.value for kind in DataType]

    assert meters["options"]["measurements"]["options"]["type"]["choices"] == names
    manual = (role / "defaults/main.yml").read_text()
    assert f"type ({', '.join(names)})" in re.sub(r"\n# *", " ", manual)


def measurement_of(record: dict[str, object]) -> Measurement:
    return Measurement(**{**record, "type": DataType(record["type"])})  # type: ignore[arg-type]


def test_the_readmes_table_is_the_programs_map() -> None:
    readme = (REPOSITORY / "README.md").read_text()

    for measurement in PV_MAP.measurements:
        registers = ", ".join(str(address) for address in range(measurement.address, measurement.end))
        assert f"| {registers} | {measurement.name} | {encoding(measurement)} |" in readme


def encoding(measurement: Measurement) -> str:
    if measurement.type is DataType.TIMESTAMP:
        return "Unix seconds, high word first"
    times = f" \N{MULTIPLICATION SIGN} {measurement.scale:g}"
    return measurement.unit + (times if measurement.scale != 1 else "")
