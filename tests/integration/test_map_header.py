"""The C header, compiled as C and as C++, gives the same registers and values as Python."""

from __future__ import annotations

import ctypes
import math
import random
import re
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_meter.config import Config, MeterConfig
from smart_meter.map_document import render
from smart_meter.map_document.identifiers import measurement_identifiers, meter_identifiers
from smart_meter.registers import status_block
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import PV_MAP, Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion"]
BUILDS = {
    "c99": ["gcc", "-x", "c", "-std=c99", "-O2"],
    "c++11": ["g++", "-x", "c++", "-std=c++11", "-O0"],
    # Undefined behaviour aborts the test run instead of passing by luck.
    "c++11, trapping": [
        "g++", "-x", "c++", "-std=c++11", "-O1",
        "-fsanitize=undefined,float-cast-overflow", "-fsanitize-undefined-trap-on-error",
    ],
    # Like Arduino's cores: GNU's dialect, which may fuse a product and a sum if the processor can.
    "gnu++17, native": ["g++", "-x", "c++", "-std=gnu++17", "-O3", "-march=native", "-ffp-contract=fast"],
}  # fmt: skip
COMMENT_TROUBLE = ["*/", "/*", "//", "??/", "\\", "/*/", "*/*/", "°C", "W/m²", "%s", "'", '"']
SCALES = (1, 10, 100, 1000, 0.1, 0.001, 3, 7.3, 1e-9, 1e9, 2**0.5)
OFFSETS = (0, -40, 273.15, 1e12, -0.1, 32768, 1e-7)
NUMBERS = [kind for kind in DataType if kind != DataType.TIMESTAMP]
TIES = (0.0, 0.5, -0.5, 0.25, 0.4999999999999999, -0.5000000000000001)
FLOAT_MAX = 3.4028234663852886e38
FLOATS = (0.0, -0.0, math.nan, -math.nan, math.inf, -math.inf, FLOAT_MAX, -FLOAT_MAX, 1.4e-45, 7e-46, 1e-320)
# The last double that is rounded down to FLOAT_MAX, and the first that is rounded up, out of a float's range.
BORDERS = (3.4028235677973362e38, 3.4028235677973366e38, -3.4028235677973362e38, -3.4028235677973366e38)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same maps and values in each run, no secrets.


def random_map(chance: random.Random) -> RegisterMap:
    measurements: list[Measurement] = []
    address = chance.choice([0, 1, 100, 40000])
    timestamp_at = chance.randrange(12)
    for index in range(chance.randint(1, 10)):
        kind = DataType.TIMESTAMP if index == timestamp_at else chance.choice(NUMBERS)
        low, high = kind.limits or (-1000, 1000)
        bare = kind is DataType.TIMESTAMP
        measurements.append(
            Measurement(
                f"{chance.choice(['int', 'a.b', 'a-b', 'T', 'B01', 'I', 'class', 'x'])}.{index}",
                address,
                kind,
                scale=1 if bare else chance.choice(SCALES),
                offset=0 if bare else chance.choice(OFFSETS),
                unit=chance.choice(COMMENT_TROUBLE),
                word_order=chance.choice(list(WordOrder)) if kind.width > 1 else WordOrder.BIG,
                minimum=None if bare else chance.choice([None, -40]),
                sentinel=None if bare else chance.choice([None, low, high, 0]),
            )
        )
        address += kind.width + chance.choice([0, 0, 0, 1, 5])
    chance.shuffle(measurements)
    return RegisterMap(tuple(measurements))


NAMES = ("a.b", "a-b", "int", "INT", "class", "default", "A0", "B1", "HIGH", "linux", "I")
PLAIN = RegisterMap(
    (
        Measurement("int_big", 2, DataType.INT32),
        Measurement("int_little", 4, DataType.INT32, word_order=WordOrder.LITTLE),
        Measurement("uint_big", 0, DataType.UINT32),
        Measurement("uint_little", 8, DataType.UINT32, word_order=WordOrder.LITTLE),
    )
)
CHANCE = seeded(20160101)
METERS = [
    Config().meters[0],
    *(MeterConfig(f"m.{number}", number, random_map(CHANCE)) for number in range(2, 42)),
    MeterConfig("names", 42, RegisterMap(tuple(Measurement(name, at) for at, name in enumerate(NAMES)))),
    MeterConfig("plain", 43, PLAIN),
]  # fmt: skip


class Header:
    """A compiled header: each meter's functions, called with values in the map's order."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def encode(self, meter: MeterConfig, values: Sequence[float]) -> tuple[int, list[int]]:
        """Return the function's result, and the registers, which were 0xAAAA before."""
        registers = (ctypes.c_uint16 * meter.map.quantity)(*[0xAAAA] * meter.map.quantity)
        structure = _structure(meter.map)(*values)
        result = self._call("encode", meter, ctypes.byref(structure), registers)
        return result, list(registers)

    def decode(self, meter: MeterConfig, registers: Sequence[int]) -> list[float]:
        structure = _structure(meter.map)()
        self._call("decode", meter, _registers(registers), ctypes.byref(structure))
        return [getattr(structure, f"v{index}") for index in range(len(meter.map.measurements))]

    def is_sentinel(self, meter: MeterConfig, registers: Sequence[int], value: int) -> bool:
        return bool(self._call("is_sentinel", meter, _registers(registers), value))

    def constants(self, meter: MeterConfig) -> list[int]:
        values = (ctypes.c_uint32 * (5 + 2 * len(meter.map.measurements)))()
        self._call("constants", meter, values)
        return list(values)

    def status(self, registers: Sequence[int]) -> tuple[bool, list[int], list[bool]]:
        """Return whether the layout is known, the values, and each flag from value 0 to 17."""
        values = (ctypes.c_uint32 * len(status_block.FIELDS))()
        flags = (ctypes.c_uint8 * 18)()
        known = self._library.call_status(_registers(registers), values, flags)
        return bool(known), list(values), [bool(flag) for flag in flags]

    def _call(self, function: str, meter: MeterConfig, *arguments: Any) -> int:
        result: int = getattr(self._library, f"call_{function}_{meter.unit_id}")(*arguments)
        return result


def _structure(register_map: RegisterMap) -> type[ctypes.Structure]:
    fields = [
        (f"v{index}", ctypes.c_uint32 if m.type is DataType.TIMESTAMP else ctypes.c_double)
        for index, m in enumerate(register_map.measurements)
    ]
    return type("Values", (ctypes.Structure,), {"_fields_": fields})


def _registers(registers: Sequence[int]) -> ctypes.Array[ctypes.c_uint16]:
    return (ctypes.c_uint16 * len(registers))(*registers)


def wrapper(meters: Sequence[MeterConfig]) -> str:
    """Return a C file that makes the header's inline functions callable from outside."""
    # Included twice, to test the include guard.
    parts = ['#include "map.h"\n#include "map.h"\n#ifdef __cplusplus\nextern "C" {\n#endif\n']
    prefixes = meter_identifiers(meters)
    for meter in meters:
        prefix = prefixes[meter.name]
        name, upper, unit = prefix.lower(), prefix.upper(), meter.unit_id
        members = measurement_identifiers(meter.map).values()
        constants = [f"{upper}_{end}" for end in ("UNIT_ID", "START", "QUANTITY", "COUNT", "FINGERPRINT")]
        for kind in ("ADDRESS", "VALUE"):
            constants += [f"{upper}_{kind}_{member.upper().rstrip('_')}" for member in members]
        copies = "".join(f"    values[{i}] = (uint32_t){constant};\n" for i, constant in enumerate(constants))
        parts.append(
            f"int call_encode_{unit}(const {name}_values *values, uint16_t *registers);\n"
            f"int call_encode_{unit}(const {name}_values *values, uint16_t *registers) {{\n"
            f"    return {name}_encode(values, registers);\n}}\n"
            f"int call_decode_{unit}(const uint16_t *registers, {name}_values *values);\n"
            f"int call_decode_{unit}(const uint16_t *registers, {name}_values *values) {{\n"
            f"    {name}_decode(registers, values);\n    return 0;\n}}\n"
            f"int call_is_sentinel_{unit}(const uint16_t *registers, int value);\n"
            f"int call_is_sentinel_{unit}(const uint16_t *registers, int value) {{\n"
            f"    return {name}_is_sentinel(registers, value);\n}}\n"
            f"int call_constants_{unit}(uint32_t *values);\n"
            f"int call_constants_{unit}(uint32_t *values) {{\n{copies}    return 0;\n}}\n"
        )
    fields = "".join(f"    values[{i}] = status.{f.name};\n" for i, f in enumerate(status_block.FIELDS))
    parts.append(
        "int call_status(const uint16_t *registers, uint32_t *values, uint8_t *flags);\n"
        "int call_status(const uint16_t *registers, uint32_t *values, uint8_t *flags) {\n"
        "    smart_meter_status status;\n    int value;\n"
        f"    bool known = smart_meter_status_decode(registers, &status);\n{fields}"
        "    for (value = 0; value < 18; value++) {\n"
        "        flags[value] = smart_meter_status_out_of_range(&status, value);\n    }\n"
        "    return known;\n}\n"
        "#ifdef __cplusplus\n}\n#endif\n"
    )
    return "".join(parts)


def compiled(folder: Path, build: list[str], meters: Sequence[MeterConfig]) -> Header:
    (folder / "map.h").write_text(render("c", meters, meters))
    (folder / "map.c").write_text(wrapper(meters))
    command = [*build, *WARNINGS, "-shared", "-fPIC", "-o", "map.so", "map.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return Header(ctypes.CDLL(str(folder / "map.so")))


@pytest.fixture(scope="module", params=list(BUILDS))
def header(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Header:
    return compiled(tmp_path_factory.mktemp("header"), BUILDS[request.param], METERS)


def expected(meter: MeterConfig, values: Sequence[float]) -> tuple[int, list[int]]:
    """Return Python's registers, or the number of the first value that it refuses."""
    named = dict(zip((m.name for m in meter.map.measurements), values, strict=True))
    for number, measurement in enumerate(meter.map.measurements, 1):
        try:
            measurement.encode(named[measurement.name])
        except ValueError:
            return number, [0xAAAA] * meter.map.quantity
    return 0, meter.map.encode(named)


def interesting(measurement: Measurement, chance: random.Random, *, fits: bool) -> float:
    """Return a value that is hard to round or to store. With `fits`, most values can be stored."""
    if measurement.type is DataType.TIMESTAMP:
        return chance.choice([0, 1, 1451628000, 2**31, 2**32 - 1, chance.randrange(2**32)])
    if measurement.type is DataType.FLOAT32:
        stored = chance.choice([*FLOATS, *BORDERS[::2], chance.uniform(-1e6, 1e6)])
        if not fits:
            stored = chance.choice([*BORDERS, 1e300, -1e39])
    else:
        low, high = measurement.type.limits or (0, 0)
        inner = chance.choice([low, low + 1, high - 1, high, 0, 1, 2, chance.randint(low, high)])
        stored = min(max(inner, low), high) + chance.choice(TIES)
        if not fits:
            stored = chance.choice([low - 1, high + 1, low - 0.5, high + 0.5, 1e300, math.nan, math.inf])
    return float(stored / measurement.scale + measurement.offset)


def test_the_registers_are_the_same_as_pythons(header: Header) -> None:
    chance = seeded(1)
    refused = 0
    for meter in METERS:
        for _ in range(200):
            odd = chance.choice([*meter.map.measurements, None, None])
            values = [interesting(m, chance, fits=m is not odd) for m in meter.map.measurements]
            wanted = expected(meter, values)
            assert header.encode(meter, values) == wanted, (meter.map, values)
            refused += wanted[0] != 0
    # The test is only meaningful if both outcomes are frequent.
    assert 1000 < refused < 200 * len(METERS) - 1000


doubles = st.floats() | st.floats(-1e5, 1e5) | st.integers(-(2**33), 2**33).map(lambda halves: halves / 2)


@given(meter=st.sampled_from(METERS), data=st.data())
@settings(deadline=None, max_examples=200)
def test_every_double_is_stored_or_refused_as_in_python(
    header: Header, meter: MeterConfig, data: st.DataObject
) -> None:
    values = [
        data.draw(st.integers(0, 2**32 - 1) if m.type is DataType.TIMESTAMP else doubles, label=m.name)
        for m in meter.map.measurements
    ]
    assert header.encode(meter, values) == expected(meter, values)


@pytest.mark.parametrize("kind", [kind for kind in NUMBERS if kind.limits])
@pytest.mark.parametrize("order", WordOrder)
def test_halves_are_rounded_to_the_even_neighbour_up_to_both_limits(
    header: Header, kind: DataType, order: WordOrder
) -> None:
    found = [
        (meter, number)
        for meter in METERS
        for number, m in enumerate(meter.map.measurements)
        if m.type is kind and (m.word_order is order or m.width == 1)
    ]
    assert found
    low, high = kind.limits or (0, 0)
    for meter, number in found:
        m = meter.map.measurements[number]
        for stored in (
            low - 0.5,
            low - 0.51,
            low + 0.5,
            -1.5,
            -0.5,
            0.5,
            1.5,
            2.5,
            high - 0.5,
            high + 0.49,
            high + 0.5,
        ):
            values = [other.decode([0] * other.width) for other in meter.map.measurements]
            values[number] = stored / m.scale + m.offset
            assert header.encode(meter, values) == expected(meter, values), (m, stored)


def same(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or struct.pack(">d", one) == struct.pack(">d", other)


def test_the_decoded_values_are_the_same_as_pythons_to_the_last_bit(header: Header) -> None:
    chance = seeded(2)
    for meter in METERS:
        for _ in range(200):
            registers = [
                chance.choice([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FC0, 0x7F80, chance.randrange(0x10000)])
                for _ in range(meter.map.quantity)
            ]
            wanted = meter.map.decode(registers).values()
            decoded = header.decode(meter, registers)
            assert all(same(float(a), float(b)) for a, b in zip(decoded, wanted, strict=True)), registers


@given(number=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_every_32_bit_integer_survives_decoding_and_encoding(header: Header, number: int) -> None:
    meter = METERS[-1]
    signed = number - 2**32 if number >= 2**31 else number
    values = [signed, signed, number, number]
    high, low = number >> 16, number & 0xFFFF
    registers = [high, low, high, low, low, high, 0, 0, low, high]
    assert header.encode(meter, values) == (0, registers)
    assert header.decode(meter, registers) == values


def test_exactly_the_sentinels_are_recognized_in_any_word_order(header: Header) -> None:
    chance = seeded(4)
    seen = 0
    for meter in METERS:
        start = meter.map.start
        for number, m in enumerate(meter.map.measurements, 1):
            registers = [chance.randrange(0x10000) for _ in range(meter.map.quantity)]
            place = slice(m.address - start, m.end - start)
            sentinel = m.sentinel_registers()
            for stored in filter(None, (sentinel, [5, 5][: m.width], [0, 0][: m.width], [0xFFFF] * m.width)):
                registers[place] = stored
                both_nan = (
                    sentinel is not None and math.isnan(m.decode(sentinel)) and math.isnan(m.decode(stored))
                )
                wanted = sentinel is not None and (stored == sentinel or both_nan)
                assert header.is_sentinel(meter, registers, number) == wanted, (m, stored)
                seen += wanted
        for number in (-1, 0, len(meter.map.measurements) + 1):
            assert not header.is_sentinel(meter, [0xFFFF] * meter.map.quantity, number)
    assert seen > 100


def test_the_constants_match_the_map(header: Header) -> None:
    for meter in METERS:
        m = meter.map
        facts = [meter.unit_id, m.start, m.quantity, len(m.measurements), int(m.fingerprint, 16)]
        addresses = [measurement.address for measurement in m.measurements]
        assert header.constants(meter) == facts + addresses + list(range(1, len(addresses) + 1))


@pytest.mark.parametrize("age", [None, 0, 61, status_block.MAX_AGE])
@pytest.mark.parametrize("state", status_block.State)
def test_the_status_block_is_decoded_as_it_was_encoded(
    header: Header, age: int | None, state: status_block.State
) -> None:
    block = status_block.encode(
        state,
        age,
        samples=0x10002,
        refused=2**32 - 1,
        fingerprint="a6e383d7",
        sequence=2**31,
        out_of_range=0x8005,
        partial_writes=1,
        incomplete_samples=2**32 - 2,
        thinned_samples=0x10003,
        unknown_units=4,
        writer_changes=5,
        generation=0xCAFE0006,
        writers=7,
    )
    registers = struct.unpack(f">{status_block.QUANTITY}H", block)
    told_age = status_block.NO_AGE if age is None else age
    values = [1, state, told_age, 0x10002, 2**32 - 1, 0xA6E383D7, 2**31, 0x8005]
    values += [1, 2**32 - 2, 0x10003, 4, 5, 0xCAFE0006, 7]
    flags = [value in (1, 3, 16) for value in range(18)]
    assert header.status(registers) == (True, values, flags)
    assert header.status([2, *registers[1:]])[0] is False


def test_headers_of_two_configurations_can_be_used_together(tmp_path: Path) -> None:
    other = MeterConfig("other", 1, RegisterMap((Measurement("x", 0),)))
    for name, meter in (("one.h", METERS[0]), ("two.h", other)):
        (tmp_path / name).write_text(render("c", [meter], [meter]))
    (tmp_path / "both.c").write_text(
        '#include "one.h"\n#include "two.h"\n#include "one.h"\n'
        "int main(void) { return PV_COUNT + OTHER_COUNT; }\n"
    )
    subprocess.run(
        ["gcc", "-std=c99", *WARNINGS, "-o", "both", "both.c"], cwd=tmp_path, check=True, timeout=60
    )
    assert subprocess.run([tmp_path / "both"], timeout=60, check=False).returncode == 8


def test_a_build_with_different_rounding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.h").write_text(render("c", METERS[:1], METERS[:1]))
    (tmp_path / "map.c").write_text('#include "map.h"\n')
    command = ["gcc", "-std=c99", "-ffast-math", "-c", "map.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "Compile without -ffast-math" in done.stderr


def test_the_examples_of_the_documentation_compile(tmp_path: Path) -> None:
    (tmp_path / "map.h").write_text(render("c", METERS[:1], METERS[:1]))
    document = (Path(__file__).parents[2] / "docs" / "register-map.md").read_text()
    examples = re.findall(r"^```cpp\n#include \"map.h\"\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    calls = ("writeHoldingRegisters", "readHoldingRegisters", "readInputRegisters")
    head = "".join(f"void {call}(int, unsigned long, unsigned long, uint16_t *) {{}}\n" for call in calls)
    bodies = "".join(f"void example_{i}() {{\n{example}}}\n" for i, example in enumerate(examples))
    (tmp_path / "examples.cpp").write_text(f'#include <ctime>\n#include "map.h"\n{head}{bodies}')
    command = ["g++", "-std=c++11", *WARNINGS, "-Wno-unused-variable", "-c", "examples.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_documented_sample_in_c(header: Header) -> None:
    values = [250, 260, 48.5, 5.36, 850, 45.6, 1451628000]
    registers = [250, 260, 485, 536, 850, 456, 22150, 5600]
    assert PV_MAP.encode(dict(zip((m.name for m in PV_MAP.measurements), values, strict=True))) == registers
    assert header.encode(METERS[0], values) == (0, registers)
    assert header.decode(METERS[0], registers) == values
