"""Findings as cards: the line, one checkout in small, the routes, and what to change, as code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.downsampling import downsampled
from poolhog.analysis.owners import key_of
from poolhog.analysis.shown import Span
from poolhog.model import OperationKind
from poolhog.render.findings import WORDS, advice, detail
from poolhog.render.page.texts import NONE, operation_words, page_text
from poolhog.render.page.verdict import happened
from poolhog.render.patches import Place
from poolhog.render.words import abbreviated, count, percent, place, seconds, short_name, short_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.model import Site
    from poolhog.render.page.links import Links
    from poolhog.render.page.run import PageRun
    from poolhog.render.page.source import SourceFiles, SourceLine


class PatchLine(NamedTuple):
    """A line of a change: ``sign`` is "-" if it is removed, "+" if added, " " if it stays."""

    sign: str
    text: str


Patch = tuple[PatchLine, ...]


def patch_of(finding: Finding, around: Sequence[SourceLine] = ()) -> Patch:
    """Return the change for a finding; none where its lines do not say what it needs."""
    if finding.site is None or not finding.site.source:
        return ()
    place = Place(finding.site, [line.text for line in around])
    patch = WORDS[finding.kind.name].patch(place, finding.evidence)
    return tuple(PatchLine(line[0], line[1:]) for line in patch.split("\n") if line)


MOST_CARDS = 20
"""Findings that have a card, unless more of them are harm; the others are counted."""

NARROWEST = 0.4
"""The least width of a bar in the miniature, in percent of the miniature's width."""

MOST_BARS = 240
"""Bars of a miniature; beyond these, short ones are added up."""

_KINDS = frozenset(OperationKind)

_LEAST_S = 0.5e-6
_MOST_TOLD = 6
_ROUTES = 6


class Bar(NamedTuple):
    """A span of the miniature: its state, its place in percent of the width, and its words."""

    state: str
    left: float
    width: float
    words: str


@dataclass(frozen=True, slots=True)
class Miniature:
    """One checkout in small; ``longest`` are its longest bars, in order of time."""

    bars: Sequence[Bar]
    longest: Sequence[Bar]
    lasted: str


@dataclass(frozen=True, slots=True)
class Card:
    """A finding as the page shows it.

    ``request`` and ``checkout`` are the example's numbers in the timeline, -1 if it is not shown;
    ``from_us`` and ``to_us`` its interval in microseconds of the timeline. ``address`` opens the
    line in an editor ("": it is not here), ``commands`` are what shows more in a terminal. The
    what-if of the page is about the finding that ``is_replayed``.
    """

    number: int
    kind: str
    is_harm: bool
    is_replayed: bool
    title: str
    sentence: str
    file: str
    line: int
    function: str
    source: Sequence[SourceLine]
    awaiting: Sequence[str]
    detail: str
    advice: str
    patch: Patch
    routes: Sequence[str]
    more_routes: int
    is_at_start: bool
    miniature: Miniature | None
    from_us: int
    to_us: int
    request: int
    checkout: int
    address: str
    commands: Sequence[str]


def cards(run: PageRun, sources: SourceFiles) -> list[Card]:
    """Return a card for each of the first findings of a run, and for all that are harm."""
    ranked = run.report.findings
    most = max(MOST_CARDS, sum(finding.is_harm for finding in ranked))
    index_of = {checkout.id: index for index, checkout in enumerate(run.checkouts)}
    return [
        _card(number, finding, run, index_of.get(finding.example.checkout, NONE), sources)
        for number, finding in enumerate(ranked[:most], 1)
    ]


def sentence(finding: Finding) -> str:
    """Return what a finding comes to: what happened or how much it wastes, and who waits for it."""
    parts = []
    if finding.seconds:
        parts.append(
            f"{seconds(finding.seconds)} of connection time, "
            f"{percent(finding.share)} of all, in {count(finding.checkouts, 'checkout')}"
        )
    if finding.made_wait:
        parts.append(f"others waited {seconds(finding.made_wait)} for a connection meanwhile")
    wasted = f"{'; '.join(parts)}." if parts else ""
    told = happened(finding) if finding.is_harm or not wasted else ""
    return " ".join(filter(None, [told, f"{wasted[:1].upper()}{wasted[1:]}"]))


def _card(number: int, finding: Finding, run: PageRun, checkout: int, sources: SourceFiles) -> Card:
    site, example, evidence = finding.site, finding.example, detail(finding)
    shown = run.checkouts[checkout] if checkout >= 0 else None
    source = sources.lines_around(site) if site is not None else []
    return Card(
        number=number,
        kind=finding.kind.name,
        is_harm=finding.is_harm,
        is_replayed=run.whatif is not None and finding is run.whatif.finding,
        title=WORDS[finding.kind.name].title,
        sentence=sentence(finding),
        file=short_path(site.file) if site is not None else "",
        line=site.line if site is not None else 0,
        function=short_name(site.function) if site is not None else "",
        source=source,
        awaiting=[_called(frame) for frame in finding.awaiting],
        detail=f"{evidence[:1].upper()}{evidence[1:]}.",
        advice=advice(finding),
        patch=patch_of(finding, source),
        routes=finding.routes[:_ROUTES],
        more_routes=max(len(finding.routes) - _ROUTES, 0),
        is_at_start=finding.is_at_start,
        miniature=miniature(run.spans[shown.id]) if shown is not None else None,
        from_us=run.us(example.started),
        to_us=run.us(example.ended),
        request=run.index_of[key_of(shown)] if shown is not None else NONE,
        checkout=checkout,
        address=run.links.address(site),
        commands=_commands(finding, run.links),
    )


def _commands(finding: Finding, links: Links) -> list[str]:
    """The example line by line, and what releasing the line would change, if it can be released."""
    example = finding.example
    told = [links.command("log", "--request", example.request or example.checkout)]
    if finding.kind.is_released and finding.site is not None:
        told.append(links.command("whatif", "--release", place(finding.site)))
    return [command for command in told if command]


def _called(frame: Site) -> str:
    return f"{short_name(frame.function)} ({place(frame)})"


def miniature(spans: Sequence[Span]) -> Miniature | None:
    """Return a checkout in small, or ``None`` if it took no time."""
    zero = spans[0].started if spans else 0.0
    whole = spans[-1].ended - zero if spans else 0.0
    if whole <= 0:
        return None
    # A span is known by its index, wherever it is added up with others.
    parts = [
        Span(part.state, part.started - zero, part.ended - zero, str(index))
        for index, part in enumerate(spans)
        if part.duration > _LEAST_S
    ]
    drawn = list(downsampled(parts, 0.0, whole, MOST_BARS))
    bars = [_bar(part, spans, whole) for part in drawn]
    longest = sorted(range(len(bars)), key=lambda i: -drawn[i].duration)[:_MOST_TOLD]
    return Miniature(bars, [bars[index] for index in sorted(longest)], seconds(whole))


def _bar(part: Span, spans: Sequence[Span], whole: float) -> Bar:
    width = max(100 * part.duration / whole, NARROWEST)
    left = round(min(100 * part.started / whole, 100 - width), 3)
    if part.number == 1:
        words = span_words(spans[int(part.kind)])
    else:
        words = f"{part.state}: many short spans, {seconds(part.duration)}"
    return Bar(part.state.value, left, round(width, 3), words)


def span_words(part: Span) -> str:
    """Return what a span was spent on, and for how long."""
    told, state = operation_words(part), part.state.value
    if part.statement is not None:
        sql = abbreviated(page_text(part.statement))
        told = f"{told}, {sql}" if told not in _KINDS else sql
    if told != state:
        told = f"{state}: {told}"
    if part.site is not None and part.statement is None:
        told += f" at {place(part.site)}"
    return f"{told}, {seconds(part.duration)}"
