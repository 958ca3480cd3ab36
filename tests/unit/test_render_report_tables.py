"""The matrix of a terminal: it adds up, whatever is shown of it, and fits."""

from __future__ import annotations

import pytest
from factories import make_pool, make_site

from poolhog.analysis.blame.blaming import NO_BLAME, Blame, Charge
from poolhog.render.report_tables import COLUMNS, Doer, blame_lines, doer_text, matrix

SITE = make_site(44, file="/srv/notes.py")
POOL = make_pool()
ROUTES = [f"GET /notes/{{note_id}}/{'part' * n}" for n in range(6)]
BLAME = Blame(
    (
        *(Charge(POOL, r, "POST /sync", "parked", SITE, 2_000_000) for r in ROUTES),
        *(Charge(POOL, r, r, "busy", SITE, 1_000_000) for r in ROUTES),
        Charge(make_pool("two"), ROUTES[0], "POST /sync", "parked", SITE, 500_000),
        *(Charge(POOL, r, None, "nobody", None, 500_000) for r in ROUTES),
        Charge(POOL, ROUTES[0], None, "connecting", None, 500_000),
    )
)


@pytest.mark.parametrize("width", [60, 80, 100, 140, 300])
@pytest.mark.parametrize("most", [1, 4, 20])
def test_it_adds_up_at_any_width(width: int, most: int) -> None:
    lines = [line.plain for line in blame_lines(BLAME, width, most)]
    assert all(len(line) <= width for line in lines)
    rows = [line.split() for line in lines[1:] if not line.startswith("…")]
    columns = len(rows[-1]) - len(["all", "waiting"])
    numbers = [[float(cell) for cell in row[-columns:]] for row in rows]
    *parts, whole = numbers
    for column, total in enumerate(whole):
        assert sum(row[column] for row in parts) == pytest.approx(total, abs=0.01)
    assert whole[0] == pytest.approx(BLAME.total, abs=0.01)
    if len(whole) > 1:
        assert sum(whole[1:]) == pytest.approx(whole[0], abs=0.01)


def test_the_line_comes_first_and_all_pools_are_one() -> None:
    found = matrix(BLAME)
    assert doer_text(found.doers[0]) == "parked at /srv/notes.py:44, POST /sync"
    assert found.cells[found.doers[0], ROUTES[0]] == 2_500_000
    assert found.waiting[0] == ROUTES[0]
    assert [doer.route for doer in found.doers[-2:]] == [None, None]
    assert found.total == round(BLAME.total * 1e6)


def test_what_is_wide_enough_shows_the_most_columns() -> None:
    heading = next(iter(blame_lines(BLAME, 300, 4))).plain
    assert heading.count("GET ") == COLUMNS
    assert heading.split()[-1] == "others"


def test_nobody_waited() -> None:
    (line,) = blame_lines(NO_BLAME, 80, 4)
    assert line.plain == "Nobody waited for a connection."


def test_what_no_other_did_has_words() -> None:
    assert doer_text(Doer(None, "nobody", None)).startswith("nobody")
    assert doer_text(Doer("GET /", "busy", None)) == "busy, GET /"
