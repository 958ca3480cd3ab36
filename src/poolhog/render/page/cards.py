"""Findings as cards: the line, one checkout in small, the routes, and what to change."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from poolhog.analysis.course import Part
from poolhog.analysis.downsampling import downsampled
from poolhog.model import OperationKind
from poolhog.render.findings import WORDS
from poolhog.render.page.columns import STATES
from poolhog.render.page.sketches import Sketch, sketch_of
from poolhog.render.words import abbreviated, count, percent, seconds, short_name, short_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.render.page.sources import SourceLine, Sources

    Json = Mapping[str, Any]

MOST_CARDS = 20
"""Findings that have a card; the others stand in a table."""

NARROWEST = 0.4
"""Percent of the miniature's width that a span has at the least."""

MOST_STRETCHES = 240
"""Of a miniature: of more, short ones are added up."""

_KINDS = frozenset(OperationKind)

_MOST_TOLD = 6
_ROUTES = 6


class Stretch(NamedTuple):
    """A span of the miniature: its state, where it is in percent of the width, what it was."""

    state: str
    left: float
    width: float
    told: str


@dataclass(frozen=True, slots=True)
class Miniature:
    """One checkout in small; ``told`` are its longest spans in words, in order."""

    stretches: Sequence[Stretch]
    told: Sequence[Stretch]
    lasted: str
    checkout: int


@dataclass(frozen=True, slots=True)
class Card:
    """A finding as the page shows it; instants of the example in microseconds of the timeline."""

    number: int
    kind: str
    title: str
    sentence: str
    file: str
    line: int
    function: str
    source: Sequence[SourceLine]
    awaiting: Sequence[str]
    detail: str
    advice: str
    sketch: Sketch
    routes: Sequence[str]
    more_routes: int
    miniature: Miniature | None
    from_us: int
    to_us: int
    request: int
    checkout: int


def cards(side: Json, sources: Sources) -> list[Card]:
    """A card for each of the first findings of a side."""
    spans = _Spans(side)
    found = side["report"]["findings"][:MOST_CARDS]
    return [_card(number, finding, side, spans, sources) for number, finding in enumerate(found, 1)]


def sentence(finding: Json) -> str:
    """How much a finding wastes, and who waits for it."""
    parts = []
    if finding["seconds"]:
        parts.append(
            f"{seconds(finding['seconds'])} of connection time, "
            f"{percent(finding['share'])} of all, in {count(finding['checkouts'], 'checkout')}"
        )
    else:
        times = finding["checkouts"]
        parts.append("Once" if times == 1 else f"{times:,} times")
    if finding["made_wait_s"]:
        parts.append(f"others waited {seconds(finding['made_wait_s'])} for a connection meanwhile")
    return "; ".join(parts) + "."


def _card(number: int, finding: Json, side: Json, spans: _Spans, sources: Sources) -> Card:
    site, example = finding["site"], finding["example"]
    kind = finding["kind"]
    zero = side["timeline"]["started_s"]
    checkout = spans.index_of(example["checkout"])
    return Card(
        number=number,
        kind=kind,
        title=WORDS[kind].title,
        sentence=sentence(finding),
        file=short_path(site["file"]) if site is not None else "",
        line=site["line"] if site is not None else 0,
        function=short_name(site["function"]) if site is not None else "",
        source=sources.lines_around(site) if site is not None else [],
        awaiting=[_called(frame) for frame in finding["awaiting"]],
        detail=f"{finding['detail'][:1].upper()}{finding['detail'][1:]}.",
        advice=finding["advice"],
        sketch=sketch_of(kind, site["source"] if site is not None else ""),
        routes=finding["routes"][:_ROUTES],
        more_routes=max(len(finding["routes"]) - _ROUTES, 0),
        miniature=spans.miniature(checkout) if checkout >= 0 else None,
        from_us=round((example["started_s"] - zero) * 1e6),
        to_us=round((example["ended_s"] - zero) * 1e6),
        request=side["timeline"]["checkouts"]["request"][checkout] if checkout >= 0 else -1,
        checkout=checkout,
    )


def _called(frame: Json) -> str:
    name = frame["file"].replace("\\", "/").rpartition("/")[2]
    return f"{short_name(frame['function'])} ({name}:{frame['line']})"


class _Spans:
    """The spans of a side, found by their checkouts."""

    def __init__(self, side: Json) -> None:
        self._side = side
        checkouts, spans = side["timeline"]["checkouts"], side["timeline"]["spans"]
        texts = side["texts"]
        self._index = {texts[text]: index for index, text in enumerate(checkouts["id"])}
        self._of: dict[int, list[int]] = {}
        for span, checkout in enumerate(accumulate(spans["checkout_d"])):
            self._of.setdefault(checkout, []).append(span)

    def index_of(self, checkout: str) -> int:
        """Of the checkout with this id; -1 if it is not shown."""
        return self._index.get(checkout, -1)

    def miniature(self, checkout: int) -> Miniature | None:
        """One checkout in small, or nothing if it took no time."""
        spans = self._of.get(checkout, [])
        lengths = self._side["timeline"]["spans"]["length"]
        whole = sum(lengths[span] for span in spans)
        if not whole:
            return None
        parts = downsampled(map(self._part, spans), 0.0, whole, MOST_STRETCHES)
        drawn = [self._stretch(part, whole) for part in parts]
        longest = sorted(range(len(parts)), key=lambda i: -parts[i].duration)[:_MOST_TOLD]
        return Miniature(
            stretches=drawn,
            told=[drawn[index] for index in sorted(longest)],
            lasted=seconds(whole / 1e6),
            checkout=checkout,
        )

    def _part(self, span: int) -> Part:
        """The span as a part of a course, in microseconds; its kind is its number here."""
        columns = self._side["timeline"]["spans"]
        started = columns["start"][span]
        ended = started + columns["length"][span]
        return Part(STATES[columns["state"][span]], started, ended, str(span))

    def _stretch(self, part: Part, whole: int) -> Stretch:
        width = max(100 * part.duration / whole, NARROWEST)
        left = round(min(100 * part.started / whole, 100 - width), 3)
        if part.number == 1:
            told = self._told(int(part.kind))
        else:
            told = f"{part.state}: many short spans, {seconds(part.duration / 1e6)}"
        return Stretch(part.state.value, left, round(width, 3), told)

    def _told(self, span: int) -> str:
        columns, texts = self._side["timeline"]["spans"], self._side["texts"]
        kind, statement, site = self._side["timeline"]["whats"][columns["what"][span]]
        state = STATES[columns["state"][span]].value
        told = texts[kind]
        if statement >= 0:
            sql = abbreviated(texts[statement])
            told = f"{told}, {sql}" if told not in _KINDS else sql
        if told != state:
            told = f"{state}: {told}"
        if site >= 0 and statement < 0:
            source = self._side["sites"][site]
            name = texts[source[0]].replace("\\", "/").rpartition("/")[2]
            told += f" at {name}:{source[1]}"
        return f"{told}, {seconds(columns['length'][span] / 1e6)}"
