"""Connections that are held without being used: each instant of a gap counts for one kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State, end_of
from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.moments import Moments
from poolhog.analysis.findings.names import between, place
from poolhog.analysis.findings.pieces import around, pieces
from poolhog.analysis.findings.where import Where, innermost_line
from poolhog.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.accounting import Gap, Shares
    from poolhog.analysis.findings.moments import Nested
    from poolhog.analysis.findings.pieces import Piece
    from poolhog.analysis.findings.tally import Tally
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Checkout, Site

    Span = tuple[float, float]
    Put = Callable[[State | None, Site | None, float, float], None]

BACKGROUND = "background"
"""The stage of a request in which its background tasks run."""


@dataclass(slots=True)
class _Occurrence:
    """What was found of one kind at one line in one checkout; ``note`` is evidence in words."""

    kind: FindingKind
    where: Where
    note: str
    spans: list[Span] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it was so."""
        return sum(ended - started for started, ended in self.spans)


def _put_nowhere(state: State | None, line: Site | None, started: float, ended: float) -> None:
    """Nobody wants to know."""


class Holding:
    """Looks at one checkout after the other, and adds to a tally what it held without using.

    ``unseen`` gathers the seconds of gaps that were parked and not looked at, by where the
    connection was asked for, and ``untold`` those that no sample fell into: as far as these were
    parked, which is known in the end, they are unseen as well.
    """

    def __init__(self, thresholds: Thresholds, tally: Tally) -> None:
        self.unseen: dict[Site | None, float] = {}
        self.untold: dict[Site | None, float] = {}
        self._thresholds = thresholds
        self._tally = tally
        self._least = {
            FindingKind.HELD_AFTER_RESPONSE: thresholds.after_response_s,
            FindingKind.HELD_WHILE_STREAMING: thresholds.streaming_s,
        }

    def look(
        self,
        checkout: Checkout,
        until: float,
        gaps: Sequence[Gap],
        nested: Sequence[Nested] = (),
        put: Put = _put_nowhere,
    ) -> None:
        """Take in a checkout, with its gaps, and what its owner had besides.

        ``put`` learns of all of the gaps but what is busy: in which state, and at which line.
        """
        moments = Moments(checkout, until, nested)
        if moments.is_one:
            unseen = [gap for gap in gaps if not gap.stretches]
            self.miss(checkout.site, untold=sum(gap.duration for gap in unseen))
            for gap in unseen:
                put(None, checkout.site, gap.started, gap.ended)
            gaps = [gap for gap in gaps if gap.stretches]
        found: dict[tuple[FindingKind, Site | None], _Occurrence] = {}
        ready: list[Piece] = []
        for piece in moments.cut(pieces(gaps)):
            if piece.state is State.BUSY:
                continue
            if piece.state is State.READY:
                ready.append(piece)
                line = innermost_line(piece.seen) or checkout.site
            else:
                line = self._sort(checkout, piece, moments, found)
            put(piece.state, line, piece.started, piece.ended)
        if moments.lost_from is not None:
            self._keep_lost(checkout, (moments.lost_from, end_of(checkout, until)), found)
        self._keep(checkout, list(found.values()))
        self._keep_nested(checkout, nested)
        if ready:
            self._keep_starved(checkout, ready)

    def miss(self, asked_at: Site | None, *, parked: float = 0.0, untold: float = 0.0) -> None:
        """Gaps were parked, or no sample fell into them, and nothing else is told of them."""
        if parked:
            self.unseen[asked_at] = self.unseen.get(asked_at, 0.0) + parked
        if untold:
            self.untold[asked_at] = self.untold.get(asked_at, 0.0) + untold

    def settle(self, shares: Shares) -> None:
        """All checkouts of a process were looked at: so their untold seconds are split."""
        for site, seconds in self.untold.items():
            self.miss(site, parked=seconds * shares.at(site).parked)
        self.untold.clear()

    def _sort(
        self,
        checkout: Checkout,
        piece: Piece,
        moments: Moments,
        found: dict[tuple[FindingKind, Site | None], _Occurrence],
    ) -> Site | None:
        """Add a piece to what was found of its kind; the line that is answerable for it."""
        kind = moments.kind(piece)
        if kind is FindingKind.NESTED_CHECKOUT:
            return self._nest(piece, moments) or checkout.site
        if kind in _HELD_BY_PARKING and piece.sample is None:
            self.miss(checkout.site, untold=piece.seconds)
            return checkout.site
        if kind is None:
            return checkout.site
        occurrence = _occurrence(checkout, kind, piece, moments)
        occurrence = found.setdefault((kind, occurrence.where.site), occurrence)
        occurrence.spans.append((piece.started, piece.ended))
        return occurrence.where.site

    def _nest(self, piece: Piece, moments: Moments) -> Site | None:
        nested = moments.nested_at(piece.started)
        if nested is None or piece.sample is None:
            return None
        nested.spans.append((piece.started, piece.ended))
        return nested.where.site

    def _keep(self, checkout: Checkout, found: Sequence[_Occurrence]) -> None:
        """Of what is only found from a threshold on, the whole of the checkout counts."""
        for occurrence in found:
            kind = occurrence.kind
            least = self._least.get(kind, 0.0)
            if not least or sum(o.seconds for o in found if o.kind is kind) >= least:
                entry = self._tally.add(kind, checkout, occurrence.where, occurrence.spans)
                entry.tell(occurrence.note, occurrence.seconds)

    def _keep_nested(self, checkout: Checkout, nested: Sequence[Nested]) -> None:
        for one in nested:
            kind = FindingKind.NESTED_CHECKOUT
            if one.spans:
                entry = self._tally.add(kind, checkout, one.where, one.spans)
            else:
                whole = [(one.started, one.ended)]
                entry = self._tally.add(kind, checkout, one.where, whole, weight=0.0)
            entry.most = max(entry.most, one.depth)

    def _keep_lost(
        self,
        checkout: Checkout,
        unused: Span,
        found: dict[tuple[FindingKind, Site | None], _Occurrence],
    ) -> None:
        """A connection that is not given back counts, be it for a moment only."""
        kind = FindingKind.NEVER_RETURNED
        if (kind, checkout.site) not in found:
            entry = self._tally.add(kind, checkout, Where(checkout.site), [unused], weight=0.0)
            entry.tell(_fate(checkout))

    def _keep_starved(self, checkout: Checkout, ready: Sequence[Piece]) -> None:
        """What ran in one go instead of the owner, if that was long."""
        for run in _in_one_go(ready):
            if run[-1].ended - run[0].started < self._thresholds.starved_s:
                continue
            longest = max(run, key=lambda piece: piece.seconds)
            line = innermost_line(longest.seen)
            if line is None:
                continue  # a thread, which has no loop, or a loop that could not be seen
            where = Where(line, _below(longest.seen, line))
            key = f"{line.file}:{line.function}"
            spans = [(piece.started, piece.ended) for piece in run]
            self._tally.add(FindingKind.STARVED_LOOP, checkout, where, spans, key=key)


_HELD_BY_PARKING = frozenset([FindingKind.PARKED_CHECKOUT, FindingKind.HELD_WHILE_STREAMING])


def _occurrence(
    checkout: Checkout, kind: FindingKind, piece: Piece, moments: Moments
) -> _Occurrence:
    near = around(checkout, piece.gap)
    if kind is FindingKind.PARKED_CHECKOUT:
        note = between(near)
    elif kind is FindingKind.NEVER_RETURNED:
        note = _fate(checkout)
    else:
        note = f"asked for at {place(checkout.site)}"
        if kind is FindingKind.HELD_AFTER_RESPONSE:
            if _is_in_background(checkout, piece):
                note = f"while background tasks ran, {note}"
            if moments.dependency is not None:
                note = f"by the dependency `{moments.dependency.name}`, {note}"
    return _Occurrence(kind, moments.where(kind, piece.seen, near.reference), note)


def _is_in_background(checkout: Checkout, piece: Piece) -> bool:
    return checkout.request is not None and any(
        stage.name == BACKGROUND
        and stage.started < piece.ended
        and (stage.ended is None or stage.ended > piece.started)
        for stage in checkout.request.stages
    )


def _fate(checkout: Checkout) -> str:
    if checkout.outcome is Outcome.COLLECTED:
        return "came back by the garbage collector only"
    return "did not come back"


def _in_one_go(ready: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces that follow one another in which the same function ran."""
    run: list[Piece] = []
    for piece in ready:
        if run and not (
            run[-1].ended == piece.started and _function(run[-1].seen) == _function(piece.seen)
        ):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _function(site: Site | None) -> tuple[str, str] | None:
    line = innermost_line(site)
    return (line.file, line.function) if line is not None else None


def _below(site: Site | None, line: Site | None) -> tuple[Site, ...]:
    """What was called from a line of the stack, the innermost last."""
    if site is None or line is None:
        return ()
    stack = site.stack
    return stack[: stack.index(line)][::-1]
