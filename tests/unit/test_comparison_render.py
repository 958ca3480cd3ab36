"""A comparison reads well as text, as Markdown and as JSON, whatever its routes are called."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from factories import make_site
from runs import CALL, Costs, run_of, steady
from test_report_render import keys
from traces import HOSTILE

from poolhog.analysis.compare.comparison import Comparison, compare, results
from poolhog.cli.conditions import conditions
from poolhog.render.comparison import ComparisonLayout, change_text, comparison_lines, conclusion
from poolhog.render.comparison_ci import comparison_json, comparison_markdown
from poolhog.render.output import WIDE
from poolhog.render.page.changes import changes

if TYPE_CHECKING:
    from poolhog.analysis.compare.comparison import Run

PAGE = Path(__file__).parents[2] / "docs" / "compare.md"
ROUTES = (Costs(), Costs(parked=0.0), Costs(wait=0.0, parked=0.1))
PARKED = run_of(steady(1, 300, ROUTES), label="before")
FREE = run_of(steady(2, 300, [replace(costs, parked=0.0) for costs in ROUTES]), label="after")
NOTHING = run_of([], label="nothing")


def lines(comparison: Comparison, *given: str, width: int = 80, most: int = 5) -> list[str]:
    found = tuple(results(comparison, conditions(given or ["new-findings"])))
    layout = ComparisonLayout(width, most, ("one", "two"))
    return [line.plain for line in comparison_lines(comparison, found, layout)]


def test_the_conclusion_comes_first_and_the_next_command_last() -> None:
    found = lines(compare(PARKED, FREE), width=200)
    assert found[0].startswith(
        "gone: parked-checkout at app/notes.py:48 in synchronize; 0 new. Parked "
    )
    assert found[1] == "passed  new-findings: no, 0 new"
    assert found[-1] == "Next: poolhog compare one two --html compare.html"


def test_the_other_way_round_it_fails_and_names_a_request_to_look_at() -> None:
    found = lines(compare(FREE, PARKED), width=200)
    assert found[0].startswith("new: parked-checkout at app/notes.py:48 in synchronize. ")
    assert found[1] == "failed  new-findings: yes, 1 new"
    assert found[-1].startswith("Next: poolhog log two --route 'GET /route-0/{id}'")


def test_conditions_are_told_with_their_numbers() -> None:
    found = lines(compare(FREE, PARKED), "parked>+10%,wait-max>50s", width=200)[1:3]
    assert re.fullmatch(r"failed  parked>\+10%: yes, 0 s → [\d.]+ ms \(from nothing\)", found[0])
    assert re.fullmatch(r"passed  wait-max>50s: no, [\d.]+ m?s", found[1])


@pytest.mark.parametrize("width", [80, 100, WIDE, 140])
@pytest.mark.parametrize(("one", "other"), [(PARKED, FREE), (FREE, PARKED), (PARKED, PARKED)])
def test_lines_keep_to_the_width(width: int, one: Run, other: Run) -> None:
    found = lines(compare(one, other), width=width)
    assert max(map(len, found[:-1])) <= width
    assert len(found) <= 50
    assert any("parts before" in line for line in found) is (width >= WIDE)


def test_a_run_beside_itself() -> None:
    text = conclusion(compare(PARKED, PARKED))
    assert text == "0 new findings, 0 gone, 1 as before. Nothing else changed beyond the spread."


def test_runs_without_anything_in_common_say_so() -> None:
    elsewhere = [
        replace(c, request=replace(c.request, route="/else")) for c in steady(3) if c.request
    ]
    assert conclusion(compare(PARKED, run_of(elsewhere))).endswith(
        ". The runs have no route in common."
    )
    assert conclusion(compare(PARKED, NOTHING)) == (
        "Nothing to compare: no connection was asked for in nothing."
    )
    assert lines(compare(NOTHING, NOTHING))[0].startswith("Nothing to compare")


def test_what_moved_says_where_it_was() -> None:
    moved = run_of(steady(2, 300, ROUTES, site=replace(CALL, line=60)))
    found = "\n".join(lines(compare(PARKED, moved)))
    assert "app/notes.py:60" in found
    assert "was at app/notes.py:48" in found


def test_so_many_are_shown_and_the_others_counted() -> None:
    some = [
        checkout
        for n in range(4)
        for checkout in steady(n, 60, site=make_site(n, f"await call_{n}()"), started=n * 60.0)
    ]
    assert "… and 2 findings more: --top N" in lines(compare(FREE, run_of(some)), most=2)


def test_changes_are_factors_or_percent() -> None:
    total = compare(PARKED, FREE).total
    assert change_text(total.change("parked")) == "to nothing"
    assert change_text(compare(FREE, PARKED).total.change("parked")) == "from nothing"
    assert change_text(total.change("use")).startswith("÷ ")
    assert change_text(compare(FREE, PARKED).total.change("use")).startswith(
        "\N{MULTIPLICATION SIGN} "
    )
    assert re.fullmatch(r"[+±-]\d+ %", change_text(total.change("busy")))
    assert change_text(compare(PARKED, PARKED).total.change("busy")) == "="


@pytest.mark.parametrize("text", [*HOSTILE, "a|b", "*x* _y_ [z](w) @you #1 ~~no~~", "x\n\n# y"])
def test_no_text_of_a_trace_is_markdown_or_html(text: str) -> None:
    site = make_site(48, text, file=f"/srv/{text.replace('/', '')}.py", function=text)
    some = [
        replace(c, request=replace(c.request, route=text))
        for c in steady(1, site=site)
        if c.request
    ]
    found = compare(run_of(some, label=text), run_of(steady(2), label=text))
    written = comparison_markdown(found, ())
    assert set(re.findall(r"</?[^>]*>", written)) <= {
        "<code>",
        "</code>",
        "<br>",
        "<sub>",
        "</sub>",
    }
    for line in written.splitlines():
        inside = "".join(re.findall(r"<code>(.*?)</code>", line))
        assert not re.search(r"[|`*_\[\]<>~@]", inside)
        assert not inside.strip().startswith("#")
    tables = [line for line in written.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} <= {5, 6, 7}
    assert not re.search(r"[@#]\w", unescape(written).replace("### poolhog", ""))


def test_markdown_begins_with_the_conclusion_and_has_the_conditions() -> None:
    comparison = compare(FREE, PARKED)
    written = comparison_markdown(
        comparison, tuple(results(comparison, conditions(["new-findings"])))
    )
    first, _, second, *_ = written.splitlines()
    assert first.startswith("### poolhog: new: parked-checkout at app/notes.py:48 in synchronize")
    assert second == "- ❌ new-findings: yes, 1 new"
    assert "| ❌ new | parked-checkout | <code>app/notes.py:48</code>" in written


def test_every_key_of_the_json_is_documented_and_of_json() -> None:
    comparison = compare(FREE, PARKED)
    found = comparison_json(
        comparison, tuple(results(comparison, conditions(["new-findings,parked>+1%"])))
    )
    page = PAGE.read_text() + (PAGE.parent / "report.md").read_text()
    assert {key for key in keys(found) if f"`{key}`" not in page} == set()
    assert found["failed"] is True
    assert found["totals"]["measures"]["parked_s"]["verdict"] == "worse"
    # From nothing: no number says by how much.
    assert found["totals"]["measures"]["parked_s"]["change"] is None
    assert [f["verdict"] for f in found["findings"]] == ["new"]


def test_the_page_has_the_same_findings_and_routes() -> None:
    comparison = compare(PARKED, FREE)
    found = changes(comparison)
    assert found.conclusion == conclusion(comparison)
    findings, routes = found.tables
    assert [row[0].text for row in findings.rows] == ["gone"]
    assert routes.rows[0][0].text == "all routes"
    assert len(routes.rows) == 4
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
