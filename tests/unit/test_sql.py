"""What may stand in a trace of a statement's text."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poolhog.recording.secrets.sql import LONGEST_STATEMENT, kept_of, without_literals

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2"
DIALECTS = ["postgresql", "mysql", "mariadb", "sqlite", "mssql", "oracle", None]


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("SELECT * FROM notes WHERE id = 12", "SELECT * FROM notes WHERE id = ?"),
        ("SELECT 'it''s', 1.5e-3, .5, 0xFF", "SELECT ?, ?, ?, ?"),
        ("SELECT -5, 1_000", "SELECT -?, ?"),
        ("SELECT E'it\\'s', e'x'", "SELECT ?, ?"),
        ("SELECT b'01', X'ff', N'x', U&'\\0041'", "SELECT ?, ?, ?, ?"),
        ("SELECT date'2026-01-01'", "SELECT date?"),
        ("SELECT $$it's$$, $tag$a $$ b$tag$", "SELECT ?, ?"),
        ("SELECT 1 -- a comment with 'quote\nFROM t", "SELECT ?  \nFROM t"),
        ("/* a\ncomment */ SELECT 1", "SELECT ?"),
        ("SELECT t1.c2 FROM t1", "SELECT t1.c2 FROM t1"),
        ('SELECT "it""s 1" FROM "Table 2"', 'SELECT "it""s 1" FROM "Table 2"'),
        (
            "WHERE a = $1 AND b = :name AND c = %(n_1)s",
            "WHERE a = $1 AND b = :name AND c = %(n_1)s",
        ),
        ("WHERE a = $1::INTEGER AND b = ?", "WHERE a = $1::INTEGER AND b = ?"),
        ("SELECT a[1:424242]", "SELECT a[?:?]"),
        ("SELECT straße FROM größe2", "SELECT straße FROM größe2"),
        ("", ""),
    ],
)
def test_literals_and_comments_go_and_the_rest_stays(sql: str, kept: str) -> None:
    assert without_literals(sql, "postgresql") == kept


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT '{SECRET}",
        f"SELECT $$ {SECRET}",
        f"SELECT $a$ x $b$ {SECRET}",
        f"SELECT E'\\' {SECRET}",
        f"SELECT 1 /* {SECRET}",
        f"SELECT 1 /* a /* b */ {SECRET} */",
        f"SELECT 'ends with a backslash\\', '{SECRET}'",  # as PostgreSQL reads it
        f"SELECT 'it\\'s {SECRET}'",  # as MySQL reads it
        f"SELECT 'a' -- {SECRET}",
        f"SELECT $é$ {SECRET} $é$",
        f"SELECT q'[it's {SECRET}]', nq'{{it's {SECRET}}}' FROM dual",  # as Oracle reads it
        f'SELECT "a" = "{SECRET}',
    ],
)
def test_where_a_literal_ends_uncertainly_too_much_is_dropped(sql: str) -> None:
    assert SECRET not in without_literals(sql, "postgresql")
    assert SECRET not in without_literals(sql, None)


@pytest.mark.parametrize(
    ("dialect", "sql", "kept"),
    [
        ("mysql", f'SELECT * FROM `a"b` WHERE c = "{SECRET}"', 'SELECT * FROM `a"b` WHERE c = ?'),
        ("mysql", f"SELECT \"it's {SECRET}\", 'a \"b'", "SELECT ?, ?"),
        ("mysql", f'SELECT "a""{SECRET}"', "SELECT ?"),
        ("mysql", f'SELECT "a\\" {SECRET}"', "SELECT ?"),
        ("mysql", f"SELECT 'a\\' {SECRET}'", "SELECT ?"),
        ("mysql", "SELECT 'a\\\\', c", "SELECT ?, c"),
        ("mysql", f"SELECT c # it's {SECRET}\nFROM t", "SELECT c  \nFROM t"),
        ("mysql", f"SELECT c -- it's {SECRET}\nFROM t", "SELECT c  \nFROM t"),
        ("mysql", f"SELECT 5--'a\n{SECRET}'", "SELECT ?--?"),
        ("mysql", f"SELECT 5#'a\n+'{SECRET}'", "SELECT ? \n+?"),
        ("mysql", "SELECT `it's`, `a``b`, `c` FROM t", "SELECT `it's`, `a``b`, `c` FROM t"),
        ("mysql", f"SELECT /*!40101 'a*/{SECRET}' */ c", "SELECT"),
        ("mysql", f"SELECT /*+ SET_VAR(x='a*/{SECRET}') */ c", "SELECT"),
        ("mysql", "SELECT /*!40101 SQL_NO_CACHE */ c", "SELECT   c"),
        ("mysql", f"SELECT _utf8mb4'{SECRET}', x'ff', 0b01", "SELECT _utf8mb4?, ?, ?"),
        ("mysql", "WHERE a = %s AND b = %(b)s", "WHERE a = %s AND b = %(b)s"),
        ("mariadb", f'SELECT "{SECRET}" # {SECRET}', "SELECT ?"),
        ("sqlite", f'SELECT a FROM t WHERE b = "{SECRET}"', "SELECT a FROM t WHERE b = ?"),
        ("sqlite", 'SELECT "o".id FROM "o" JOIN "p"', 'SELECT "o".id FROM "o" JOIN "p"'),
        ("sqlite", 'INSERT INTO "o" (a) VALUES (?1)', 'INSERT INTO "o" (a) VALUES (??)'),
        ("sqlite", 'UPDATE "main"."o" SET a=?', 'UPDATE "main"."o" SET a=?'),
        ("sqlite", f'a IS DISTINCT FROM "{SECRET}"', "a IS DISTINCT FROM ?"),
        ("sqlite", f'a IS DISTINCT /* */\nFROM "{SECRET}"', "a IS ?"),
        ("sqlite", f'VACUUM INTO "{SECRET}"', "VACUUM INTO ?"),
        ("sqlite", f'-- update\n"{SECRET}"', "?"),
        ("sqlite", f"SELECT [it's], `it's`, '{SECRET}'", "SELECT [it's], `it's`, ?"),
        ("sqlite", f"SELECT 'ends with a backslash\\', '{SECRET}', c", "SELECT ?, ?, c"),
        ("sqlite", f"SELECT '{SECRET}' -- it's\nFROM t", "SELECT ?  \nFROM t"),
        ("sqlite", f"SELECT [a, '{SECRET}'", "SELECT ?"),
        (
            "mssql",
            f"SELECT [it's] FROM [a]]b] WHERE c = '{SECRET}'",
            "SELECT [it's] FROM [a]]b] WHERE c = ?",
        ),
        ("mssql", f"SELECT [a]], '{SECRET}'", "SELECT ?"),
        ("mssql", f'SELECT "{SECRET}" FROM "dbo"."t"', 'SELECT ? FROM "dbo"."t"'),
        ("mssql", f'SELECT TRIM("x" FROM "{SECRET}")', "SELECT TRIM(? FROM ?)"),
        ("mssql", f"SELECT N'{SECRET}', $4711.5, 0xFF, c\\", "SELECT ?, $?, ?, c\\"),
        ("mssql", "SELECT @p1, #temp.c, t.c# FROM #temp", "SELECT @p1, #temp.c, t.c# FROM #temp"),
        (
            "mssql",
            f"EXEC dbo.p {SECRET}, [{SECRET}], @p, @n = {SECRET}, NULL",
            "EXEC dbo.p ?, ?, @p, @n = ?, NULL",
        ),
        ("mssql", f"EXEC @r = [my p] {SECRET} OUTPUT", "EXEC @r = [my p] ? OUTPUT"),
        ("mssql", f"sp_addlogin {SECRET}, 'x'", "sp_addlogin ?, ?"),
        ("oracle", f"SELECT q'[it's {SECRET}]', c FROM dual", "SELECT ?, c FROM dual"),
        (
            "oracle",
            f"SELECT nq'{{it's {SECRET}}}', Q'!it's {SECRET}!', q'(a')', q'<a'>', c",
            "SELECT ?, ?, ?, ?, c",
        ),
        ("oracle", f"SELECT q'[{SECRET}", "SELECT ?"),
        ("oracle", f"SELECT 'a\\', '{SECRET}', \"it's\", n'x'", 'SELECT ?, ?, "it\'s", ?'),
        (
            "oracle",
            "SELECT v$session.sid, c# FROM v$session WHERE a = :1 AND b = :b",
            "SELECT v$session.sid, c# FROM v$session WHERE a = :? AND b = :b",
        ),
        (
            "postgresql",
            'SELECT U&"d\\0061t\'a", a#>>b FROM t',
            'SELECT U&"d\\0061t\'a", a#>>b FROM t',
        ),
        ("postgresql", f"SELECT a$b$c, '{SECRET}' FROM d$b$", "SELECT a$b$c, ? FROM d$b$"),
        ("postgresql", f"SELECT c -- it's\r, 'a\n{SECRET}'", "SELECT c"),
        ("cockroachdb", 'SELECT "it\'s"', 'SELECT "it\'s"'),
        (None, f'SELECT "{SECRET}", `a b` FROM t', "SELECT ?, `a b` FROM t"),
        (
            None,
            "SELECT a[1], b[:n] FROM t -- c\nWHERE x = :x",
            "SELECT a[?], b[:n] FROM t  \nWHERE x = :x",
        ),
        (None, f"SELECT [it's], '{SECRET}'", "SELECT ?"),
        (None, f"SELECT `it's`, '{SECRET}'", "SELECT ?"),
        (None, f"SELECT 1 # 'a\n{SECRET}'", "SELECT ?"),
        (None, f"SELECT 1 // it's {SECRET}\n'{SECRET}'", "SELECT ?"),
        (None, f"SELECT 5--'a\n{SECRET}'", "SELECT ?"),
        (None, f"SELECT '''it's {SECRET}'''", "SELECT ?"),
        (None, f"SELECT $$ '{SECRET}' $$, c", "SELECT ?"),
        (None, f"{{it's}} '{SECRET}'", "?"),
    ],
)
def test_each_dialect_has_its_own_literals(dialect: str | None, sql: str, kept: str) -> None:
    found = without_literals(sql, dialect)
    assert found.replace("--", "").split() == kept.replace("--", "").split()
    assert SECRET not in found


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "value", [SECRET, f'"{SECRET}"', f"'{SECRET}'", f"N'{SECRET}'", f"S3-{SECRET}!"]
)
@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ("CREATE USER ada IDENTIFIED BY ", "CREATE USER ada IDENTIFIED BY ?"),
        ("ALTER USER ada IDENTIFIED\n /* x */ BY ", None),
        ("ALTER USER ada IDENTIFIED BY VALUES ", "ALTER USER ada IDENTIFIED BY ?"),
        (
            "CREATE USER ada IDENTIFIED WITH sha256_password BY ",
            "CREATE USER ada IDENTIFIED WITH ?",
        ),
        ("CREATE USER ada IDENTIFIED WITH plugin AS ", "CREATE USER ada IDENTIFIED WITH ?"),
        ("CREATE USER ada IDENTIFIED VIA ed25519 USING ", "CREATE USER ada IDENTIFIED VIA ?"),
        (
            "GRANT CONNECT TO ada, bob IDENTIFIED BY a, ",
            "GRANT CONNECT TO ada, bob IDENTIFIED BY ?",
        ),
        ("CREATE DATABASE LINK l CONNECT TO ada IDENTIFIED BY ", None),
        ("CREATE ROLE ada WITH LOGIN PASSWORD ", "CREATE ROLE ada WITH LOGIN PASSWORD ?"),
        ("ALTER ROLE ada ENCRYPTED PASSWORD = ", "ALTER ROLE ada ENCRYPTED PASSWORD ?"),
        ("CREATE USER ada AS PASSWORD=", "CREATE USER ada AS PASSWORD ?"),
        ("CREATE LOGIN ada WITH PASSWORD = ", "CREATE LOGIN ada WITH PASSWORD ?"),
        ("ALTER LOGIN ada WITH PASSWORD = 'a' OLD_PASSWORD = ", "ALTER LOGIN ada WITH PASSWORD ?"),
        ("SET PASSWORD = ", "SET PASSWORD ?"),
        ("SET PASSWORD FOR ada TO ", "SET PASSWORD ?"),
        ("CREATE OR REPLACE PERSISTENT SECRET s (TYPE s3, KEY_ID ", None),
        ("CREATE SECRET IF NOT EXISTS s (TYPE s3, SECRET ", "CREATE SECRET ?"),
        ("CREATE DATABASE SCOPED CREDENTIAL c WITH IDENTITY = x, SECRET = ", None),
        ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = ", "CREATE MASTER KEY ?"),
        ("OPEN SYMMETRIC KEY k DECRYPTION BY PASSWORD = ", "OPEN SYMMETRIC KEY ?"),
        ("CREATE USER MAPPING FOR ada SERVER s OPTIONS (user a, password ", None),
        ("CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = ", None),
        ("PRAGMA key = ", "PRAGMA key ?"),
        ("PRAGMA main.rekey=", "PRAGMA main.rekey ?"),
        ("ATTACH DATABASE f AS g KEY ", "ATTACH DATABASE f AS g KEY ?"),
        ("SET app.api_token TO ", "SET app.api_token TO ?"),
        ("SET LOCAL app.name = ", "SET LOCAL app.name = ?"),
        ("CONNECT TO db USER ada USING ", "CONNECT ?"),
        ("SELECT 1; create user ada password ", "SELECT ?; create user ada password ?"),
        ("BEGIN; ALTER USER ada AUTHENTICATION ", "BEGIN; ALTER USER ada AUTHENTICATION ?"),
        ("IF x IS NULL CREATE LOGIN ada WITH PASSWORD = ", None),
    ],
)
def test_passwords_go_with_and_without_quotes(
    dialect: str | None, value: str, before: str, kept: str | None
) -> None:
    found = without_literals(f"{before}{value} and what comes after", dialect)
    assert SECRET not in found
    if kept is not None:
        assert found == kept


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT password, token FROM users WHERE password = :p AND api_key = other_key",
        "UPDATE users SET password = :p WHERE token IS NULL",
        "INSERT INTO users (name, password) VALUES (:n, :p)",
        "WITH secrets AS (SELECT secret FROM t) SELECT secret FROM secrets",
        "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, password TEXT, token TEXT)",
        "ALTER TABLE users ADD COLUMN password TEXT",
        "CREATE UNIQUE INDEX ix_password ON users (password)",
        "GRANT SELECT (password) ON users TO ada",
        "SET SESSION AUTHORIZATION ada",
        "SET search_path TO public",
        "PRAGMA foreign_keys=ON",
        "PRAGMA journal_mode=WAL",
        "SELECT identified FROM t ORDER BY identified, created_by",
        "ROLLBACK TO SAVEPOINT sa_savepoint",
        "BEGIN (implicit)",
    ],
)
def test_a_column_may_be_called_a_password(dialect: str | None, sql: str) -> None:
    assert without_literals(sql, dialect) == sql


def test_of_a_very_long_statement_the_beginning_is_kept() -> None:
    kept = kept_of(
        f"SELECT c FROM t WHERE x IN ({'?, ' * LONGEST_STATEMENT}'{SECRET}')", "postgresql"
    )
    assert kept.startswith("SELECT c FROM t WHERE x IN (?, ?, ")
    assert kept.endswith(" …")
    assert len(kept) < LONGEST_STATEMENT + 10


def quote_string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quote_escaped(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_dollars(text: str) -> str:
    return f"$q${text.replace('$', '')}$q$"


def quote_mysql(mark: str) -> Callable[[str], str]:
    def quote(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace(mark, f"\\{mark}")
        return f"{mark}{escaped}{mark}"

    return quote


def quote_doubled(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def quote_oracle(text: str) -> str:
    return f"q'[{text.replace(']', '')}]'"


LITERALS: dict[str | None, list[Callable[[str], str]]] = {
    "postgresql": [quote_string, quote_escaped, quote_dollars],
    "mysql": [quote_string, quote_mysql("'"), quote_mysql('"')],
    "sqlite": [quote_string, quote_doubled],
    "mssql": [quote_string, quote_doubled, lambda text: "N" + quote_string(text)],
    "oracle": [quote_string, quote_oracle],
}
LITERALS["mariadb"] = LITERALS["mysql"]
LITERALS[None] = [*itertools.chain(*LITERALS.values())]

NAMES: dict[str | None, list[str]] = {
    "postgresql": ["a", '"it\'s"', 'U&"a--b"', "a$b$c", "b[1]"],
    "mysql": ["a", "`it's`", '`a"b`', "`a#b -- c`"],
    "sqlite": ["a", "[it's]", "`a'b`", '"it\'s".c', "[a--b]"],
    "mssql": ["a", "[it's]", "[a]]'b]", '"it\'s".c', "[a/*b]", "#t", "@p"],
    "oracle": ["a", '"it\'s"', "v$x", "c#"],
    None: ["a", "`a`", "b[1]", "[it's]", '"it\'s"', "`it's`"],
}
NAMES["mariadb"] = NAMES["mysql"]

COMMENTS: dict[str | None, list[str]] = {
    dialect: ["", "/* it's */", "-- it's\n", '-- "\r\n', "/***/", *more]
    for dialect, more in {
        "postgresql": ["/* /* */ ' */"],
        "mysql": ["# it's\n", "/*! a */", "--1 "],
        "mariadb": ["# it's\n", "/*M! a */"],
        "sqlite": ["--'\n"],
        "mssql": ["/* /* */ ' */"],
        "oracle": ["/*+ it's */", "--'\n"],
        None: [],
    }.items()
}


@st.composite
def statements(draw: st.DrawFn, dialect: str | None) -> str:
    """A statement of the dialect in which the secret stands in literals only."""
    names = st.sampled_from(NAMES[dialect])
    around = st.text("ab '\"\\$-/*#[]`{};.\n", max_size=6)
    comments = st.sampled_from(COMMENTS[dialect])

    def literal() -> str:
        quote = draw(st.sampled_from(LITERALS[dialect]))
        text = draw(around) + SECRET + draw(around)
        if quote is quote_string and dialect in ("mysql", "mariadb", None):
            # A plain string of these is no string if a backslash escapes its end.
            text = text.replace("\\", "")
        return quote(text)

    parts = [
        f"{draw(names)} {draw(comments)} = {draw(comments)}{literal()}"
        for _ in range(draw(st.integers(1, 3)))
    ]
    return f"SELECT {draw(names)} FROM t WHERE {' AND '.join(parts)} {draw(comments)}"


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_a_secret_in_a_literal_never_survives(dialect: str | None, data: st.DataObject) -> None:
    sql = data.draw(statements(dialect))
    assert SECRET not in without_literals(sql, dialect)
    assert SECRET not in without_literals(sql, None)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.integers(10**6, 10**18))
def test_a_number_never_survives(dialect: str | None, number: int) -> None:
    # What stands in brackets is a name to some.
    array = "" if dialect in ("sqlite", "mssql") else f"a[{number}:{number}], "
    sql = f"SELECT {number}, -{number}, {array}{number}.5 FROM t WHERE x={number}"
    assert str(number) not in without_literals(sql, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.text())
def test_any_text_is_taken(dialect: str | None, text: str) -> None:
    assert isinstance(without_literals(text, dialect), str)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.text("'\"`[]$-/*#\\ a{}\n;qQ(", max_size=40))
def test_what_is_cut_off_is_not_kept_either(dialect: str | None, text: str) -> None:
    """A literal that the end of what is kept cuts in two leaves nothing of its first half."""
    sql = f"{text}{quote_string(SECRET)}"
    assume(SECRET not in without_literals(sql, dialect))
    for length in range(len(text) + 2, len(sql)):
        assert not without_literals(sql[:length], dialect).endswith(
            SECRET[: length - len(text) - 1]
        )


def test_a_large_statement_is_kept_in_full_length() -> None:
    values = ", ".join(["('it''s', 1, 'a\\b')"] * 20_000)
    kept = without_literals(f"INSERT INTO t VALUES {values}", "postgresql")
    assert kept.count("(?, ?, ?)") == 20_000


PIECES = (
    *(
        "'",
        '"',
        "`",
        "[",
        "]",
        "{",
        "/*",
        "*/",
        "/* ",
        "--",
        "#",
        "$a$",
        "$a",
        "$",
        "\\",
        "\\'",
        "''",
    ),
    *(
        "q'",
        "E'",
        "N'",
        "%(a",
        ":",
        "1",
        "1e",
        "0x",
        "a",
        " ",
        "\n",
        "\r",
        ";",
        "a ",
        "a;",
        ".",
        "@",
    ),
    *("from", "from ", 'from "', "distinct ", "distinct\n", "insert ", "insert into ", "create "),
    *(
        "create or replace ",
        "create temp ",
        "alter a ",
        "set a.",
        "set ",
        "exec ",
        "exec @a",
        "exec[",
    ),
    *("identified ", "password ", "key", "[a", "`a", '"a', "{a", "[(", "\u00e9"),
)


HIDING_S = 0.001


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_text_takes_time_that_grows_faster_than_it(dialect: str | None) -> None:
    slow = [piece for piece in PIECES if grows(piece, dialect)]
    # A busy machine may make one look slow once; what grows with the square is slow each time.
    assert [piece for piece in slow if all(grows(piece, dialect) for _ in range(5))] == []


def grows(piece: str, dialect: str | None) -> bool:
    """Whether four times the text takes more than in proportion; what is squared takes 16 times.

    Asked again only where one reading does not tell.
    """
    shorter, longer = ("x " + _times(piece, length) for length in (5_000, 20_000))
    first = _time(longer, dialect)
    if first <= 4.5 * HIDING_S:
        return False
    least = min(_time(shorter, dialect) for _ in range(2))
    return first > 4.5 * least and _time(longer, dialect) > 4.5 * least


def _times(piece: str, length: int) -> str:
    return piece * (length // len(piece))


def _time(sql: str, dialect: str | None) -> float:
    """Seconds of a reading, and a constant that hides what is too short."""
    began = time.process_time()
    without_literals(sql, dialect)
    return time.process_time() - began + HIDING_S
