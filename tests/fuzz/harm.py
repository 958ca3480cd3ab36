"""Ways to harm a trace: damage that happens to files, and what somebody would craft.

Each takes a directory with a trace and a source of chance, and changes one file of it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    Harm = Callable[[Path, random.Random], None]

PAGE = 2048


# What happens to files.


def flip_bits(file: Path, chance: random.Random) -> None:
    with file.open("r+b") as opened:
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            at = chance.randrange(file.stat().st_size)
            opened.seek(at)
            byte = opened.read(1)[0]
            opened.seek(at)
            opened.write(bytes([byte ^ 1 << chance.randrange(8)]))


def overwrite(file: Path, chance: random.Random) -> None:
    """A stretch of the file becomes zeros, ones, noise, or another stretch of it."""
    size = file.stat().st_size
    length = min(chance.choice((1, 4, 16, 512, PAGE, 3 * PAGE)), size)
    content = file.read_bytes()
    other = chance.randrange(size - length + 1)
    stretch = chance.choice(
        (bytes(length), b"\xff" * length, chance.randbytes(length), content[other : other + length])
    )
    with file.open("r+b") as opened:
        opened.seek(chance.randrange(size - length + 1))
        opened.write(stretch)


def truncate(file: Path, chance: random.Random) -> None:
    os.truncate(file, chance.choice((0, 1, 99, 100, chance.randrange(file.stat().st_size))))


def append(file: Path, chance: random.Random) -> None:
    with file.open("ab") as opened:
        opened.write(chance.randbytes(chance.choice((1, 24, PAGE, PAGE + 24))))


def swap_pages(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    one, other = (chance.randrange(max(len(content) // PAGE, 1)) * PAGE for _ in range(2))
    first, second = content[one : one + PAGE], content[other : other + PAGE]
    if len(first) == len(second):
        content[one : one + PAGE], content[other : other + PAGE] = second, first
    file.write_bytes(content)


def lose(file: Path, chance: random.Random) -> None:
    file.unlink()


def replace(file: Path, chance: random.Random) -> None:
    """Something else has the file's name."""
    file.unlink()
    match chance.randrange(5):
        case 0:
            file.mkdir()
        case 1:
            os.mkfifo(file)
        case 2:
            file.symlink_to("/dev/zero")
        case 3:
            file.symlink_to(file)
        case 4:
            file.write_bytes(b"SQLite format 3\0" + chance.randbytes(5000))


DAMAGES: tuple[Harm, ...] = (
    *(flip_bits, flip_bits, flip_bits, overwrite, overwrite, truncate, append, swap_pages),
    *(lose, replace),
)


def damage(trace: Path, chance: random.Random, _: Path) -> str:
    """Harm one of the files that belong to the second process; what was done to which."""
    main, *beside = sorted(trace.glob("2.sqlite*"))
    file = main if not beside or chance.random() < 0.6 else chance.choice(beside)
    # A process of which nothing is left has not been recorded.
    harm = chance.choice([one for one in DAMAGES if beside or one is not lose])
    harm(file, chance)
    return f"{harm.__name__} {file.name}"


# What somebody would craft.

VALUES: tuple[Any, ...] = (
    *(None, "", "noon", b"\xff\xfe", b"", 0.5, float("inf"), -1, 0, 1, 2**31, 2**53, 2**63 - 1),
    *(-(2**63), 10**15, "[" * 100_000, "[]", "[[]]", "{}", "null", "[[1]]", "[[1,2,3,4,5,6,7,8]]"),
    *('[["a",1]]', "[[1,1e400]]", "[[1.5,2]]", "[[true,1]]", "[[01,2,3]]", "[[1,2,3],[4]", "NaN"),
    *("[[99999,0,1]]", "[[1,0,1,99999]]", "[[1,0,1,null,99999]]", "[[1,-99999999999999999999,1]]"),
    *("\x1b[31m\x1b]0;owned\x07", "\x9b2J", "a\r\nb", "\0", "\u202e", "x" * 2_000_000),
    *("/etc/passwd", "/proc/self/environ", "/dev/zero", "../../../etc/shadow", "-1", "1e999"),
)
COLUMNS = {
    "meta": ("key", "value"),
    "pools": ("id", "library", "kind", "name", "size", "max_overflow", "timeout_s"),
    "texts": ("id", "text"),
    "sites": ("id", "caller_id", "file", "line", "function", "source", "is_application"),
    "packed_requests": (
        *("id", "kind", "method", "route", "path", "status", "error", "started", "responding"),
        *("responded", "ended", "stages"),
    ),
    "packed_checkouts": (
        *("id", "pool_id", "request_id", "owner", "connection", "site_id", "outcome", "asked"),
        *("granted", "gave_up", "returned", "connecting", "pinging", "busy", "operations"),
    ),
    "packed_samples": ("id", "checkout_id", "activity", "site_id", "started", "ended"),
    "packed_lock_waits": ("id", "checkout_id", "blocker_id", "session", "started", "ended"),
}
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


def cell(database: sqlite3.Connection, chance: random.Random) -> str:
    table = chance.choice(tuple(COLUMNS))
    column = chance.choice(COLUMNS[table])
    value = chance.choice(VALUES)
    which = "key" if table == "meta" else "id"
    rows = [number for (number,) in database.execute(f"SELECT {which} FROM {table}")]
    everywhere = chance.random() < 0.2
    where = "TRUE" if everywhere else f"{which} = ?"
    found = () if everywhere else (chance.choice(rows),) if rows else (0,)
    database.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {where}", (value, *found))
    return f"{table}.{column} = {str(value)[:20]!r}"


def untyped_cell(database: sqlite3.Connection, chance: random.Random) -> str:
    """Past the columns' types: the table is made anew without any, under the old schema's words."""
    table = chance.choice([name for name in COLUMNS if name != "meta"])
    ((sql,),) = database.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table])
    database.execute("PRAGMA writable_schema = ON")
    loose = sql.replace("INTEGER NOT NULL", "BLOB").replace(" NOT NULL", "")
    database.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", [loose, table])
    database.commit()
    told = ""
    with closing(sqlite3.connect(_file_of(database))) as other, other:
        told = cell_of(other, table, chance)
    database.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", [sql, table])
    database.execute("PRAGMA writable_schema = OFF")
    return f"untyped {told}"


def cell_of(database: sqlite3.Connection, table: str, chance: random.Random) -> str:
    column, value = chance.choice(COLUMNS[table][1:]), chance.choice(VALUES)
    database.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", [value])
    return f"{table}.{column} = {str(value)[:20]!r}"


def _file_of(database: sqlite3.Connection) -> str:
    return str(database.execute("PRAGMA database_list").fetchone()[2])


def view_for_table(database: sqlite3.Connection, chance: random.Random) -> str:
    table = chance.choice(tuple(COLUMNS))
    columns = ", ".join(f"i AS {column}" for column in COLUMNS[table])
    database.execute(f"ALTER TABLE {table} RENAME TO hidden")
    database.execute(f"CREATE VIEW {table} AS {ENDLESS} {columns} FROM n")
    return f"an endless view for {table}"


def other_view(database: sqlite3.Connection, chance: random.Random) -> str:
    view = chance.choice(("requests", "checkouts", "operations", "samples", "stages"))
    database.execute(f"DROP VIEW {view}")
    database.execute(f"CREATE VIEW {view} AS {ENDLESS} i AS id FROM n")
    return f"another view {view}"


def more_objects(database: sqlite3.Connection, chance: random.Random) -> str:
    sql = chance.choice(
        (
            "CREATE INDEX lying ON packed_checkouts (asked) WHERE asked > 1",
            "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM texts; END",
            "CREATE VIRTUAL TABLE v USING fts5(a)",
            "CREATE TABLE more (a)",
            "ALTER TABLE packed_checkouts ADD COLUMN more AS (asked * 2)",
            "DROP TABLE packed_samples",
            "DROP INDEX samples_of_checkout",
            "ANALYZE",
        )
    )
    database.execute(sql)
    return sql


def many_rows(database: sqlite3.Connection, chance: random.Random) -> str:
    """A chain of sites that is as deep as none can be."""
    database.execute(
        f"INSERT OR IGNORE INTO sites {ENDLESS} i + 100000, nullif(i + 99999, 100000), 'x.py', 1,"
        " 'f', '', 1 FROM n LIMIT 50000"
    )
    return "50,000 sites above one another"


def meta(database: sqlite3.Connection, chance: random.Random) -> str:
    keys = [key for (key,) in database.execute("SELECT key FROM meta")]
    key = chance.choice(keys)
    if chance.random() < 0.2:
        database.execute("DELETE FROM meta WHERE key = ?", [key])
        return f"without meta.{key}"
    value = chance.choice((*VALUES, "999999999999999999999999", '["\\ud800"]', '{"a": 1}', "[1]"))
    database.execute("UPDATE OR IGNORE meta SET value = ? WHERE key = ?", [value, key])
    return f"meta.{key} = {str(value)[:20]!r}"


CRAFTED = (
    *(cell, cell, cell, cell, untyped_cell, untyped_cell, view_for_table, other_view),
    *(more_objects, many_rows, meta, meta),
)


def craft(trace: Path, chance: random.Random, victim: Path) -> str:
    """Change what is in the second process's file; without a checksum, as the author would."""
    file = trace / "2.sqlite"
    made = chance.choice((*CRAFTED, None))
    if made is None:
        return journal(trace, chance, victim)
    told = made.__name__
    with closing(sqlite3.connect(file)) as database:
        with contextlib.suppress(sqlite3.Error, OverflowError):
            told = made(database, chance)
            database.execute("DELETE FROM meta WHERE key = 'checksum'")
        with contextlib.suppress(sqlite3.Error):
            database.commit()
    for beside in trace.glob("2.sqlite-*"):
        beside.unlink()
    return told


def journal(trace: Path, chance: random.Random, victim: Path) -> str:
    """A rollback journal that SQLite would take for hot, which names another file to delete."""
    name = str(victim).encode() if chance.random() < 0.5 else b"../victim"
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(20)
    header = header.ljust(512, b"\0")
    end = name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    for file in trace.glob("2.sqlite-*"):
        file.unlink()
    (trace / "2.sqlite-journal").write_bytes(header + bytes(4) + end + header[:8])
    return "a journal that names another file"
