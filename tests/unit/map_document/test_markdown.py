from smart_meter.config import Config, MeterConfig, OnStale, OutOfRange, Publish
from smart_meter.map_document import render
from smart_meter.registers.data_types import DataType
from smart_meter.registers.register_map import Measurement, RegisterMap
from smart_meter.registers.word_order import WordOrder


def document(*meters: MeterConfig) -> list[str]:
    return render("markdown", meters, meters).splitlines()


def test_the_documented_map_is_a_table_by_address() -> None:
    [pv] = Config().meters
    turned = pv._replace(map=RegisterMap(pv.map.measurements[::-1]))
    lines = document(turned)
    assert lines[0] == "## Meter pv"
    assert "| 0 | 40001 | `P_ac` | uint16 |  | 1 | 0 | W | 0 | 20000 | 6 |" in lines
    assert "| 6-7 | 40007 | `Timestamp` | timestamp | big | 1 | 0 | s |  |  |  |" in lines
    rows = [line for line in lines if " | 4000" in line]
    assert [row.split(" | ")[2] for row in rows] == [f"`{m.name}`" for m in pv.map.measurements]


def test_sentinels_and_flags_have_their_columns_where_they_matter() -> None:
    register_map = RegisterMap(
        (
            Measurement("a", 3, DataType.INT16, maximum=5.5),
            Measurement("b", 0, DataType.INT32, word_order=WordOrder.LITTLE, sentinel=-2),
            Measurement("c", 5, DataType.FLOAT32, scale=0.1),
            Measurement("d", 7, no_value=True),
            Measurement("e", 8),
        )
    )
    meter = MeterConfig("m", 1, register_map, on_stale=OnStale.SENTINEL, out_of_range=OutOfRange.REFUSE)
    lines = document(meter)
    assert "| 0-1 | 40001 | `b` | int32 | little | 1 | 0 |  |  |  | 0xFFFFFFFE | 0xFFFFFFFE |  |" in lines
    assert "| 3 | 40004 | `a` | int16 |  | 1 | 0 |  |  | 5.5 | 0x8000 | 0x8000 | 0 |" in lines
    assert "| 5-6 | 40006 | `c` | float32 | big | 0.1 | 0 |  |  |  | nan | nan |  |" in lines
    assert "| 7 | 40008 | `d` | uint16 |  | 1 | 0 |  |  |  | 0xFFFF | 0xFFFF |  |" in lines
    assert "| 8 | 40009 | `e` | uint16 |  | 1 | 0 |  |  |  | 0xFFFF |  |  |" in lines
    assert '- "no value": what the sender stores if it has none; that is in no range' in lines
    assert "- a value outside minimum and maximum is refused with exception 03" in lines
    assert "- registers that are not listed mean nothing" in lines
    assert all(line.count(" |") == 13 for line in lines if "| `" in line and " | 4" in line)


def test_the_policies_for_stale_and_incomplete_samples_are_shown() -> None:
    [pv] = Config().meters
    assert "- stale: 60 s without a sample; then the last values stay" in document(pv)
    never = document(pv._replace(stale_after=0, publish=Publish.COMPLETE))
    assert {"- stale: never", "- readers see only complete samples"} <= set(never)
    refused = document(pv._replace(stale_after=2.5, on_stale=OnStale.EXCEPTION))
    assert "- stale: 2.5 s without a sample; then a read gets exception 0B" in refused


def test_a_map_that_is_too_long_for_one_request_is_marked() -> None:
    long = RegisterMap((Measurement("a", 0), Measurement("b", 124)))
    assert "- too long for one request: 1 to read, 2 to write" in document(MeterConfig("m", 1, long))


def test_a_unit_is_escaped() -> None:
    [row] = [
        line
        for line in document(MeterConfig("m", 1, RegisterMap((Measurement("a", 0, unit="*_`<b>\\"),))))
        if "`a`" in line
    ]
    assert r"| \*\_\`\<b\>\\ |" in row


def test_the_status_block_is_shown_once_after_all_meters() -> None:
    [pv] = Config().meters
    lines = document(pv, pv._replace(name="other", unit_id=2))
    headings = [line for line in lines if line.startswith("#")]
    assert headings == ["## Meter pv", "## Meter other", "## Status block"]
    assert "| 1 | 30002 | `state` | uint16 |  | 0 waiting, 1 fresh, 2 stale, 3 restored |" in lines


def test_a_wide_gap_is_not_counted_as_requests() -> None:
    wide = RegisterMap((Measurement("a", 0), Measurement("b", 60000)))
    assert "- too long for one request: 2 to read, 2 to write" in document(MeterConfig("m", 1, wide))
