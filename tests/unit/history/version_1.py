"""A history's file as the first release made it, and the statements of that release, as recorded."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from smart_meter.config import MeterConfig
from smart_meter.registers.register_map import Measurement, RegisterMap

SCHEMA = """
PRAGMA page_size = 1024;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
PRAGMA application_id = 1397573705;
PRAGMA user_version = 1;
CREATE TABLE maps (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, definition TEXT NOT NULL UNIQUE);
CREATE TABLE meters (id INTEGER PRIMARY KEY, name TEXT NOT NULL, unit_id INTEGER NOT NULL,
    map INTEGER NOT NULL REFERENCES maps (id), first INTEGER NOT NULL);
CREATE TABLE samples (id INTEGER PRIMARY KEY, meter INTEGER NOT NULL, running INTEGER NOT NULL,
    measured INTEGER, flags INTEGER NOT NULL, registers BLOB NOT NULL);
CREATE TABLE clock (first INTEGER PRIMARY KEY, boot TEXT NOT NULL, running INTEGER NOT NULL,
    monotonic INTEGER NOT NULL, wall INTEGER NOT NULL);
CREATE TABLE last (meter INTEGER PRIMARY KEY, id INTEGER NOT NULL, running INTEGER NOT NULL,
    measured INTEGER, flags INTEGER NOT NULL, registers BLOB NOT NULL);
CREATE VIEW arrivals AS SELECT samples.id AS id, meters.name AS meter,
    (running + (SELECT wall FROM clock WHERE first <= samples.id ORDER BY first DESC LIMIT 1)) / 1e6
    AS arrived, measured, flags, hex(registers) AS registers
    FROM samples JOIN meters ON meters.id = samples.meter;
COMMIT;
"""
_PROBES = (
    "SELECT id, fingerprint, definition FROM maps LIMIT 1",
    "SELECT id, name, unit_id, map, first FROM meters LIMIT 1",
    "SELECT id, meter, running, measured, flags, registers FROM samples LIMIT 1",
    "SELECT first, boot, running, monotonic, wall FROM clock LIMIT 1",
    "SELECT meter, id, running, measured, flags, registers FROM last LIMIT 1",
)


class FirstRelease:
    """The first release's use of a file: it opens it, adds rows, keeps the last ones, deletes and reads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Make a file without rows."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.executescript(SCHEMA)

    def accepts(self) -> bool:
        """Return whether it would read and write the file rather than quarantine it."""
        with closing(sqlite3.connect(self._path)) as connection:
            for probe in _PROBES:
                connection.execute(probe).fetchall()
            [(application,)] = connection.execute("PRAGMA application_id")
            [(version,)] = connection.execute("PRAGMA user_version")
        return (application, version) == (0x534D4849, 1)

    def record(self, meter: MeterConfig, rows: Sequence[bytes], boot: str = "a") -> None:
        """Start, and add rows, one a second."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            execute = connection.execute
            execute("BEGIN IMMEDIATE")
            [(newest,)] = execute("SELECT ifnull(max(id), 0) FROM samples")
            [(running,)] = execute("SELECT ifnull(max(running), 0) FROM samples")
            execute(
                "INSERT OR REPLACE INTO clock VALUES (?, ?, ?, ?, ?)",
                (newest + 1, boot, running, running - 1_000_000_000, 1_600_000_000_000_000),
            )
            found = execute(
                "SELECT meters.id, unit_id, definition FROM meters JOIN maps ON maps.id = map "
                "WHERE name = ? ORDER BY meters.id DESC LIMIT 1",
                (meter.name,),
            ).fetchone()
            definition = _define(meter.map)
            if found is None or found[1:] != (meter.unit_id, definition):
                execute(
                    "INSERT OR IGNORE INTO maps (fingerprint, definition) VALUES (?, ?)",
                    (meter.map.fingerprint, definition),
                )
                added = execute(
                    "INSERT INTO meters (name, unit_id, map, first) "
                    "VALUES (?, ?, (SELECT id FROM maps WHERE definition = ?), ?)",
                    (meter.name, meter.unit_id, definition, newest + 1),
                )
                found = (added.lastrowid,)
            connection.executemany(
                "INSERT INTO samples (meter, running, measured, flags, registers) VALUES (?, ?, ?, ?, ?)",
                [
                    (found[0], running + number * 1_000_000, None, 0, row)
                    for number, row in enumerate(rows, 1)
                ],
            )
            execute("COMMIT")

    def keep_last(self) -> None:
        """Copy the last row, as it does every 4,096 rows."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO last SELECT meter, id, running, measured, flags, registers "
                "FROM samples WHERE id IN (SELECT max(id) FROM samples)"
            )

    def delete(self, before: int) -> None:
        """Delete rows, as by age or size."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM samples WHERE id < ?", (before,))
            connection.execute(
                "DELETE FROM clock WHERE first < (SELECT max(first) FROM clock WHERE first <= ?)", (before,)
            )

    def decoded(self, meter: str) -> list[dict[str, float]]:
        """Return the values of a meter's rows, each decoded by the addresses of its definition."""
        with closing(sqlite3.connect(self._path)) as connection:
            rows = connection.execute(
                "SELECT definition, registers FROM samples JOIN meters ON meters.id = meter "
                "JOIN maps ON maps.id = map WHERE name = ? ORDER BY samples.id",
                (meter,),
            ).fetchall()
        found = []
        for definition, registers in rows:
            known = [
                Measurement(**{k: v for k, v in record.items() if k in ("name", "address", "scale")})
                for record in json.loads(definition)
            ]
            register_map = RegisterMap(tuple(known))
            found.append(register_map.decode(struct.unpack(f">{register_map.quantity}H", registers)))
        return found

    def rows(self) -> list[bytes]:
        """Return the registers of each row as it reads them; the view has the same rows."""
        with closing(sqlite3.connect(self._path)) as connection:
            rows = connection.execute(
                "SELECT id, registers, hex(registers) FROM samples ORDER BY id"
            ).fetchall()
            viewed = connection.execute("SELECT id, registers FROM arrivals ORDER BY id").fetchall()
        assert [(number, text) for number, _, text in rows] == viewed
        return [registers for _, registers, _ in rows]


def _define(register_map: RegisterMap) -> str:
    records = [
        {name: getattr(value, "value", value) for name, value in measurement._asdict().items()}
        for measurement in register_map.measurements
    ]
    return json.dumps(records, ensure_ascii=False, allow_nan=False)
