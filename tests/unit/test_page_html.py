"""The page of a run: whole, without anything to load, and safe whatever the run was called."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from traces import HOSTILE, hostile_trace

from poolhog.analysis.compare.comparison import Run, compare
from poolhog.analysis.compare.series import Series
from poolhog.analysis.digest import read_digest
from poolhog.analysis.report import read_report
from poolhog.analysis.thresholds import Thresholds
from poolhog.render.page import page_html
from poolhog.render.page.data import page_data
from poolhog.render.page.inline import digest
from poolhog.render.report import report_json
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from pathlib import Path


class Seen(HTMLParser):
    """The elements of a page, what is in scripts and styles, and what its text says."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in self.raw else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        (self.raw[self._inside] if self._inside else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw["script"][0])
        return found


def page_of(*traces: Path) -> str:
    sides, runs = [], []
    for trace in traces:
        series = Series()
        whole = read_digest(stream_trace(trace), Thresholds(), companions=[series])
        sides.append((trace.name, whole))
        runs.append(Run(trace.name, whole.report, series))
    compared = compare(runs[0], runs[1]) if len(runs) > 1 else None
    return page_html(page_data(sides, version="0.1.0"), compared, source=traces[0].parent)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_trace_becomes_part_of_the_page(text: str, tmp_path: Path) -> None:
    (tmp_path / "hostile").mkdir()
    hostile_trace(tmp_path / "hostile", text)
    (tmp_path / "plain").mkdir()
    hostile_trace(tmp_path / "plain", "x")
    page = page_of(tmp_path / "hostile" / "trace")
    seen, plain = Seen(page), Seen(page_of(tmp_path / "plain" / "trace"))
    assert seen.tags.count("script") == plain.tags.count("script") == 2
    assert set(seen.tags) == set(plain.tags)
    names = {(tag, name) for tag, name, _ in seen.attributes}
    assert names == {(tag, name) for tag, name, _ in plain.attributes}
    assert not [name for _, name in names if name.startswith("on") or name == "style"]
    assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069]", page)
    assert len(seen.raw["script"]) == 2
    (pool,) = seen.data["sides"][0]["timeline"]["pools"]
    assert pool["name"].replace("⟨U+202E⟩", "\u202e").startswith(text[:8])


def test_what_changed_is_no_part_of_the_page_either(tmp_path: Path) -> None:
    text = "".join(HOSTILE)
    for name in ("hostile", "plain"):
        (tmp_path / name).mkdir()
        hostile_trace(tmp_path / name, text if name == "hostile" else "x")
    traces = [tmp_path / name / "trace" for name in ("hostile", "plain")]
    page = page_of(*traces)
    seen, plain = Seen(page), Seen(page_of(traces[1], traces[1]))
    assert "What changed, by route" in seen.text
    assert seen.tags.count("script") == 2
    assert set(seen.tags) == set(plain.tags)
    assert not [name for _, name, _ in seen.attributes if name.startswith("on") or name == "style"]
    assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069]", page)


def test_a_lone_surrogate_and_a_long_statement_can_be_written(tmp_path: Path) -> None:
    hostile_trace(tmp_path, "fine", sql="SELECT " + "x, " * 40_000 + "1")
    whole = read_digest(stream_trace(tmp_path / "trace"), Thresholds())
    page = page_html(page_data([("a\ud800b", whole)], version="0.1.0"))
    assert "a⟨U+D800⟩b" in Seen(page).text
    assert "more characters" in page
    assert len(page.encode()) < 300_000


def test_nothing_is_loaded_and_the_policy_allows_only_what_is_there(tmp_path: Path) -> None:
    hostile_trace(tmp_path, "x")
    page = page_of(tmp_path / "trace")
    seen = Seen(page)
    addresses = [v for _, name, v in seen.attributes if name in ("src", "href", "action", "data")]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    assert "url(http" not in page
    assert "@import" not in page
    (policy,) = (value for tag, name, value in seen.attributes if value.startswith("default-src"))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert digest(seen.raw["script"][1]) in policy
    assert digest(seen.raw["style"][0]) in policy


def test_the_numbers_of_the_page_are_those_of_json(tmp_path: Path) -> None:
    hostile_trace(tmp_path, "x", checkouts=9)
    report = read_report(stream_trace(tmp_path / "trace"), Thresholds())
    expected = json.loads(json.dumps(report_json(report)))
    page = page_of(tmp_path / "trace")
    seen, totals = Seen(page), expected["totals"]
    spent = seen.data["sides"][0]["spent_s"]
    assert spent == {state: totals[f"{state}_s"] for state in spent}
    assert f"{totals['checkouts']:,}" in seen.text
    routes = numbers_of(page, "routes")
    keys = ("requests", "checkouts", "wait_p50_s", "wait_p95_s", "wait_max_s", "use_s", "busy_s")
    assert [row[: len(keys)] for row in routes] == [
        [route[key] for key in keys] for route in expected["routes"]
    ]
    pools = numbers_of(page, "pools")
    assert [row[2] for row in pools] == [pool["checkouts"] for pool in expected["pools"]]
    blame = numbers_of(page, "blame")
    assert sum(charge["seconds"] for charge in expected["blame"]) > 0
    assert sum(row[0] for row in blame) == pytest.approx(totals["wait_s"])
    for in_all, *cells in blame:
        assert sum(cells) == pytest.approx(in_all)


def numbers_of(page: str, table: str) -> list[list[float]]:
    """What the cells with numbers of a table are sorted by, row by row."""
    found = re.search(rf'<table data-key="{table}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found is not None
    return [
        [float(value) for value in re.findall(r'data-value="([^"]+)"', row)]
        for row in found[1].split("</tr>")[:-1]
    ]


def test_the_page_says_the_verdict_the_line_and_the_change(tmp_path: Path) -> None:
    hostile_trace(tmp_path, "await the_tax_office(form)")
    seen = Seen(page_of(tmp_path / "trace"))
    assert "The pool of 1 was exhausted" in seen.text
    assert "was spent waiting for here, not for the database." in seen.text
    assert "mark" in seen.tags
    assert "def hold(here, frame):" in seen.text
    assert "Show in the timeline" in seen.text
    assert seen.text.count("# await the_tax_office(form)") >= 2


def test_source_that_changed_since_is_not_shown_around_the_line(tmp_path: Path) -> None:
    hostile_trace(tmp_path, "await the_tax_office(form)")
    (tmp_path / "app.py").write_text("import secrets_of_mine\n\n\nprint(1)\n")
    text = Seen(page_of(tmp_path / "trace")).text
    assert "secrets_of_mine" not in text
    assert "def hold" not in text
    assert "the_tax_office(form)" in text


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    for name, checkouts in (("first", 3), ("second", 6)):
        (tmp_path / name).mkdir()
        hostile_trace(tmp_path / name, "x", checkouts=checkouts)
        (tmp_path / name / "trace").rename(tmp_path / f"{name}-run")
    seen = Seen(page_of(tmp_path / "first-run", tmp_path / "second-run"))
    assert [side["label"] for side in seen.data["sides"]] == ["first-run", "second-run"]
    assert seen.tags.count("h1") == 1
    assert "first-run against second-run" in seen.text
    assert "Both runs in numbers" in seen.text
    assert "× 2" in seen.text  # noqa: RUF001 - the sign of multiplication
    ids = [value for _, name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_page_of_nothing_says_so(tmp_path: Path) -> None:
    page = page_html(page_data([("empty", read_digest([], Thresholds()))], version="0.1.0"))
    assert "No connection was asked for while this was recorded." in Seen(page).text
