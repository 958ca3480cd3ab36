"""A kind of finding is one file, one entry of a list, and one row of words: none is missing."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from traces import hostile_trace
from verbs import poolhog

from poolhog.analysis import findings
from poolhog.analysis.findings import KINDS, AnyKind, GapKind, known_thresholds
from poolhog.analysis.thresholds import Threshold
from poolhog.render.findings import WORDS
from poolhog.render.kind_words import Words

if TYPE_CHECKING:
    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.meaning import Lifetime, Piece

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_every_kind_has_words_and_no_words_are_left_over() -> None:
    assert sorted(WORDS) == sorted(kind.name for kind in KINDS)
    assert [words.kind for words in WORDS.values() if words.kind not in KINDS] == []
    assert len({words.title for words in WORDS.values()}) == len(KINDS)


def test_a_file_for_each_kind_and_no_other_file_defines_one() -> None:
    folder = Path(findings.__file__).parent
    for kind in KINDS:
        module = importlib.import_module(f"poolhog.analysis.findings.{_constant(kind).lower()}")
        assert getattr(module, _constant(kind)) is kind
        assert type(kind).__module__ == module.__name__
        assert getattr(findings, _constant(kind)) is kind
    defining = [f for f in folder.glob("*.py") if re.search(r"^    name = ", f.read_text(), re.M)]
    assert len(defining) == len(KINDS)


def _constant(kind: AnyKind) -> str:
    return kind.name.replace("-", "_").upper()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_is_a_section_and_a_row_of_the_page(kind: AnyKind) -> None:
    page = PAGE.read_text()
    assert page.count(f"\n## {kind.name}\n") == 1
    row = f"| [`{kind.name}`](#{kind.name}) | {WORDS[kind.name].title} |"
    assert page.count(f"\n{row}\n") == 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_has_a_sentence_on_the_page(kind: AnyKind) -> None:
    words = WORDS[kind.name]
    assert words.spent is not None or words.happened is not None


def test_the_page_says_in_which_order_kinds_claim_an_instant() -> None:
    text = " ".join(PAGE.read_text().split())
    order = ", ".join(f"`{kind.name}`" for kind in KINDS if isinstance(kind, GapKind))
    assert f"the first of these that claims it: {order}." in text


def test_the_page_says_which_kinds_matter_by_the_time_they_waste() -> None:
    text = " ".join(PAGE.read_text().split())
    (hogs,) = re.findall(r"`least_share` is for (.*?)[.;]", text)
    assert set(re.findall(r"`([\w-]+)`", hogs)) == {kind.name for kind in KINDS if kind.is_hog}


@dataclass(frozen=True, slots=True)
class Napping:
    """The evidence of the kind below."""

    naps: int


class Toy(GapKind[Napping]):
    """A kind of this test: the owner is parked at a line that says NAP."""

    name = "toy-nap"
    thresholds = (Threshold("nap_s", 0.01),)
    least = thresholds[0]

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        return piece.seen is not None and "NAP" in piece.seen.source

    def evidence(self, entry: Entry, totals: Totals) -> Napping:
        return Napping(entry.checkouts)


TOY = Toy()
TOY_WORDS = Words(
    kind=TOY,
    title="Somebody naps",
    verdict="{site} napped for {seconds}",
    spent="was spent napping ({place})",
    detail=lambda _, evidence: f"napped {evidence.naps} times",
    advice=lambda _: "Wake up.",
    patch=lambda place, _: f"-{place.line}\n+wake_up()",
)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace in which a line says NAP, read by a poolhog that has one kind more."""
    monkeypatch.setattr(findings, "KINDS", (TOY, *KINDS))
    monkeypatch.setitem(WORDS, TOY.name, TOY_WORDS)
    hostile_trace(tmp_path, "NAP")
    return tmp_path / "trace"


def test_a_new_kind_is_seen_in_the_terminal(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("report", trace)
    printed = capsys.readouterr().out
    assert re.match(r"\S+app\.py:2 napped for \d+ ms", printed)
    assert "toy-nap" in printed
    assert "napped 4 times" in printed
    assert "→ Wake up." in printed
    assert "parked-checkout" not in printed


def test_a_new_kind_is_seen_in_json(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("report", trace, "--json")
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["kind"], found["checkouts"]) == ("toy-nap", 4)
    assert (found["detail"], found["advice"]) == ("napped 4 times", "Wake up.")


def test_a_new_kind_is_seen_on_the_page(trace: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    poolhog("report", trace, "--html", page)
    text = page.read_text(encoding="utf-8")
    for words in ("of connection time was spent napping", "Somebody naps", "Napped 4 times."):
        assert words in text
    assert "wake_up()" in text


def test_a_threshold_of_a_new_kind_can_be_set(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert TOY.least in known_thresholds()
    poolhog("report", trace, "--json", "--threshold", "nap_s=60")
    assert json.loads(capsys.readouterr().out)["findings"] == []
