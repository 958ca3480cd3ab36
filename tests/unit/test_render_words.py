from __future__ import annotations

from pathlib import Path

import pytest

from poolhog.model import Site
from poolhog.render.words import (
    UNSEEN,
    DurationUnit,
    abbreviated,
    command_of,
    count,
    duration,
    file_name,
    file_size,
    folded_lines,
    listed,
    listed_pids,
    path_and_line,
    percent,
    place,
    rate,
    seconds,
    short_name,
    short_path,
    shortened,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 s"),
        (0.000001, "<0.01 ms"),
        (0.00005, "0.05 ms"),
        (0.000994, "0.99 ms"),
        (0.000996, "1.00 ms"),
        (0.00123, "1.23 ms"),
        (0.0123, "12.3 ms"),
        (0.00999, "9.99 ms"),
        (0.009999, "10.0 ms"),
        (0.123, "123 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (5.02, "5.02 s"),
        (9.996, "10.0 s"),
        (99.96, "100 s"),
        (1234.5, "1,234 s"),
        (-0.0123, "-12.3 ms"),
    ],
)
def test_durations_have_three_digits(value: float, expected: str) -> None:
    assert seconds(value) == expected


def test_a_number_stays_with_its_unit_where_a_line_ends() -> None:
    for width in range(20, 60):
        lines = folded_lines("waited 12.5 s in all, busy 53.4 ms: 57 % of 3 seconds", width, 2)
        assert not any(line.endswith(("12.5", "53.4", "57")) for line in lines)
        assert all(len(line) <= width for line in lines)
        assert all(line.startswith("  ") for line in lines[1:])
        assert " ".join(" ".join(lines).split()).startswith("waited 12.5 s in all, busy 53.4 ms")


def test_counts_agree_with_their_noun() -> None:
    assert [count(n, "request") for n in (0, 1, 2, 1000)] == [
        "0 requests",
        "1 request",
        "2 requests",
        "1,000 requests",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0 s"),
        (0.00008, "80 µs"),
        (0.0123, "12.3 ms"),
        (0.9996, "1 s"),
        (5.0, "5 s"),
        (99.96, "100 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_a_duration_in_a_sentence_has_no_zeros_at_its_end(value: float, expected: str) -> None:
    assert duration(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0.00"), (2.04, "2.04"), (9.996, "10.0"), (99.96, "100"), (1980.0, "1,980")],
)
def test_rates_have_three_digits(value: float, expected: str) -> None:
    assert rate(value) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(0.0, 1.0, "0 %"), (0.004, 1.0, "<1 %"), (5, 6, "83 %"), (1, 0, "0 %"), (3, 3, "100 %")],
)
def test_a_share_that_is_not_zero_is_not_written_as_zero(
    part: float, whole: float, expected: str
) -> None:
    assert percent(part, whole) == expected


def test_a_column_of_durations_has_one_unit() -> None:
    unit = DurationUnit.of(0.123)
    assert [unit.name, *map(unit.told, (0.123, 0.0012, 0.00001))] == ["ms", "123.0", "1.2", "0"]
    assert DurationUnit.of(1.5).told(1.5) == "1.50"


def test_nouns_that_end_with_an_s_get_a_syllable_more() -> None:
    assert [count(n, "process") for n in (1, 2)] == ["1 process", "2 processes"]


def test_a_list_says_how_many_it_leaves_out() -> None:
    names = ["a", "b", "c", "d"]
    assert listed(names, 4) == "a, b, c, d"
    assert listed(names, 2) == "a, b and 2 more"
    assert listed(names, 3, "other route") == "a, b, c and 1 other route"
    assert listed([], 1) == ""
    assert listed_pids([7]) == "process 7"
    assert listed_pids(range(1, 7)) == "processes 1, 2, 3, 4 and 2 more"


def test_a_line_is_named_by_its_file_or_by_the_way_to_it() -> None:
    here = Path.cwd() / "app" / "notes.py"
    site = Site(str(here), 44, "app.notes.add.<locals>.inner", "await sync()", True, None)
    assert (place(site), path_and_line(site)) == ("notes.py:44", "app/notes.py:44")
    assert (place(None), path_and_line(None)) == ("an unknown line", UNSEEN)
    assert file_name("C:\\app\\notes.py") == "notes.py"
    assert short_path("/usr/lib/python3.13/asyncio/tasks.py") == "asyncio/tasks.py"
    assert short_path("/venv/lib/python3.13/site-packages/asyncpg/pool.py") == "asyncpg/pool.py"
    assert short_name(site.function) == "app.notes.add.inner"


def test_a_command_can_be_pasted_into_a_shell() -> None:
    assert command_of(["poolhog", "log", "--route", "GET /a b"]) == "poolhog log --route 'GET /a b'"
    assert command_of(["\x1b[2J"]) == r"$'\x1b[2J'"


def test_a_long_text_is_cut_to_its_beginning() -> None:
    assert [shortened(text, 4) for text in ("abcd", "abcde")] == ["abcd", "abc…"]


def test_sizes_are_in_thousands_of_bytes() -> None:
    assert [file_size(size) for size in (312, 999_999, 2_500_000)] == [
        "0.3 kB",
        "1,000.0 kB",
        "2.5 MB",
    ]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select id\n from notes where id = $1", "SELECT … FROM notes"),
        ('UPDATE ONLY "my notes" SET data = $1', 'UPDATE "my notes" …'),
        ("INSERT INTO app.notes VALUES ($1)", "INSERT INTO app.notes …"),
        ("DELETE FROM notes WHERE id = $1", "DELETE FROM notes …"),
        ("VACUUM notes", "VACUUM notes"),
        (
            "CALL a_procedure_with_a_name_of_some_length($1)",
            "CALL a_procedure_with_a_name_of_some_l …",
        ),
    ],
)
def test_a_statement_is_abbreviated_to_what_it_does_to_which_table(
    statement: str, expected: str
) -> None:
    assert abbreviated(statement) == expected
