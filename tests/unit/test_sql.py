"""What may stand in a trace of a statement's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhog.recording.sql import LONGEST_STATEMENT, kept_of, without_literals

SECRET = "hunter2"


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
    assert without_literals(sql) == kept


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
    assert SECRET not in without_literals(sql)


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (f'SELECT * FROM `a"b` WHERE c = "{SECRET}"', 'SELECT * FROM `a"b` WHERE c = ?'),
        (f"SELECT \"it's {SECRET}\", 'a \"b'", "SELECT ?, ?"),
        (f'SELECT "a""{SECRET}"', "SELECT ?"),
        (f'SELECT "a\\" {SECRET}"', "SELECT ?"),
        (f"SELECT c # {SECRET}\nFROM t", "SELECT c  \nFROM t"),
    ],
)
def test_where_double_quotes_are_of_strings_these_go_as_well(sql: str, kept: str) -> None:
    assert without_literals(sql, is_double_quoted=True) == kept


def test_of_a_very_long_statement_the_beginning_is_kept() -> None:
    kept = kept_of(f"SELECT c FROM t WHERE x IN ({'?, ' * LONGEST_STATEMENT}'{SECRET}')")
    assert kept.startswith("SELECT c FROM t WHERE x IN (?, ?, ")
    assert kept.endswith(" …")
    assert len(kept) < LONGEST_STATEMENT + 10


def quote_string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quote_escaped(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_dollars(text: str) -> str:
    return f"$q${text.replace('$', '')}$q$"


@given(
    before=st.text("ab '\\$-/*", max_size=8),
    after=st.text(max_size=8),
    quote=st.sampled_from([quote_string, quote_escaped, quote_dollars]),
    count=st.integers(1, 3),
)
def test_a_secret_in_a_literal_never_survives(
    before: str,
    after: str,
    quote: object,
    count: int,
) -> None:
    assert callable(quote)
    literal = quote(f"{before}{SECRET}{after}")
    sql = "SELECT " + ", ".join(f"c{n} = {literal}" for n in range(count)) + " FROM t WHERE x = $1"
    assert SECRET not in without_literals(sql)


@given(st.integers(10**6, 10**18))
def test_a_number_never_survives(number: int) -> None:
    sql = f"SELECT {number}, -{number}, a[{number}:{number}], {number}.5 FROM t WHERE x={number}"
    assert str(number) not in without_literals(sql)


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(without_literals(text), str)


def test_a_large_statement_takes_no_time_that_grows_faster_than_it() -> None:
    values = ", ".join(["('it''s', 1, 'a\\b')"] * 20_000)
    assert without_literals(f"INSERT INTO t VALUES {values}").count("(?, ?, ?)") == 20_000
