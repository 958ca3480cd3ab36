"""Gaps of checkouts as findings: each instant counts for one kind; those alike are judged once.

Two parts of gaps are alike if the owner was seen doing the same at the same line, between the same
operations, of checkouts that were asked for at the same line and whose gaps keep their meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from poolhog.analysis import findings
from poolhog.analysis.accounting import State
from poolhog.analysis.findings.entry import Batch, Origin
from poolhog.analysis.findings.finding import Claimed, GapKind
from poolhog.analysis.findings.lines import NamedLine
from poolhog.analysis.findings.meaning import Lifetime, piece_of, surroundings
from poolhog.analysis.spans import PARKED, RUNNING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from poolhog.analysis.findings.meaning import Piece
    from poolhog.analysis.findings.tally import FindingTally
    from poolhog.analysis.ledger import Flags, Ledger, Numbers
    from poolhog.analysis.spans import Cut, Spans
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Site

    Kinds = tuple[GapKind[Any], ...]


def gap_kinds() -> Kinds:
    """The kinds that an instant of a gap can count for, in their order."""
    return tuple(kind for kind in findings.KINDS if isinstance(kind, GapKind))


def meaning_of(piece: Piece, lifetime: Lifetime, kinds: Kinds) -> GapKind[Any] | None:
    """The first kind that claims a piece of a gap; ``None``: it is no waste."""
    for kind in kinds:
        if kind.claims(piece, lifetime):
            return kind
    return None


def look(
    lifetime: Lifetime,
    pieces: Iterable[Piece],
    kinds: Kinds,
    thresholds: Thresholds,
    tally: FindingTally,
) -> Iterator[tuple[Piece, Site | None, bool]]:
    """Add the gaps of one checkout, in pieces, to a tally.

    Each piece comes back with the line that is answerable for it, and whether it was seen: if not,
    it has no sample, and may have been parked.
    """
    claimed: dict[GapKind[Any], list[Claimed]] = {}
    asked_at = lifetime.checkout.site
    for piece in lifetime.cut(pieces):
        if piece.state is State.BUSY:
            continue
        kind = meaning_of(piece, lifetime, kinds)
        is_seen = kind is None or piece.sample is not None or not kind.needs_sample
        if kind is None or not is_seen:
            yield piece, asked_at, is_seen
            continue
        line = kind.line(piece, lifetime)
        claimed.setdefault(kind, []).append(Claimed(piece, line))
        yield piece, line.site, True
    for kind in kinds:
        for occurrence in kind.occurrences(claimed.get(kind, ()), lifetime, thresholds):
            tally.add(kind, lifetime.checkout, occurrence)


class _Judged(NamedTuple):
    """What one of some gaps that are alike means: the kind that claimed it, if one did."""

    kind: GapKind[Any] | None
    line: NamedLine
    note: Hashable


class Alike:
    """The sampled parts of the gaps of some checkouts, each with the judgement that it shares.

    ``span`` are their indexes among the spans that were cut, ``group`` of the judgements.
    """

    def __init__(self, ledger: Ledger, found: Cut, chosen: Flags, kinds: Kinds) -> None:
        spans = found.spans
        is_part: Flags = (spans.sample >= 0) & np.isin(spans.state, (PARKED, RUNNING))
        self.span = np.flatnonzero(is_part & chosen[spans.row])
        self._ledger, self._found = ledger, found
        some, self.group = _distinct(self._keys())
        self._judged = list(self._judge(self.span[some], kinds))

    def apart(self) -> Numbers:
        """The rows with a part that a kind claimed which looks at all parts of a checkout."""
        is_apart = np.array(
            [kind is not None and not kind.is_by_line for kind, _, _ in self._judged],
            bool,
        )
        return np.unique(self._found.spans.row[self.span[is_apart[self.group]]])

    def without(self, rows: Numbers) -> None:
        """Leave the parts of some rows to others."""
        keeps = ~np.isin(self._found.spans.row[self.span], rows)
        self.span, self.group = self.span[keeps], self.group[keeps]

    def lines(self) -> tuple[Numbers, list[Site | None]]:
        """The line that answers for each part, as an index, and the lines."""
        return self.group, [judged.line.site for judged in self._judged]

    def count(self, tally: FindingTally) -> None:
        """Add to the tally what was claimed."""
        places: dict[tuple[GapKind[Any], Site | None], int] = {}
        of_group = np.array(
            [
                -1 if kind is None else places.setdefault((kind, line.site), len(places))
                for kind, line, _ in self._judged
            ],
            np.int64,
        )
        place = of_group[self.group]
        for (kind, _), number in places.items():
            for batch in self._batches(np.flatnonzero(place == number)):
                tally.add_batch(kind, batch)

    def _keys(self) -> list[Numbers]:
        spans, samples, operations = self._found.spans, self._found.samples, self._found.operations
        around = surroundings(self._found)
        row, gap, sample = (column[self.span] for column in (spans.row, spans.gap, spans.sample))
        keys = [self._ledger.site[row], spans.state[self.span]]
        keys += [samples.activity[sample], samples.site[sample]]
        for column in around:
            at = column[gap]
            keys += [
                np.where(at >= 0, values[at] if len(values) else -1, -1)
                for values in (operations.kind, operations.statement, operations.site)
            ]
        return keys

    def _judge(self, spans: Numbers, kinds: Kinds) -> Iterator[_Judged]:
        rows = self._found.spans.row[spans]
        unique = np.unique(rows)
        checkouts = dict(zip(unique.tolist(), self._ledger.checkouts(unique), strict=True))
        until = self._ledger.process.written
        for span, row in zip(spans.tolist(), rows.tolist(), strict=True):
            lifetime = Lifetime(checkouts[row], until)
            piece = piece_of(self._ledger, self._found, span, checkouts[row])
            kind = meaning_of(piece, lifetime, kinds)
            if kind is None:
                yield _Judged(None, NamedLine(checkouts[row].site), None)
            else:
                yield _Judged(kind, kind.line(piece, lifetime), kind.note(piece, lifetime))

    def _batches(self, parts: Numbers) -> Iterator[Batch]:
        """What was found of a kind at a site, by pool: it is the first part that is described."""
        if not len(parts):
            return
        ledger, spans = self._ledger, self._found.spans
        span, group = self.span[parts], self.group[parts]
        for pool in np.unique(ledger.pool[spans.row[span]]).tolist():
            own = ledger.pool[spans.row[span]] == pool
            yield self._batch(span[own], group[own])

    def _origins(self, span: Numbers) -> dict[Origin, float]:
        """The seconds of some parts by their origin."""
        ledger, spans = self._ledger, self._found.spans.where(span)
        asked, after = origins(ledger, self._found, spans)
        pairs, place = np.unique(asked * len(ledger.sites) + after, return_inverse=True)
        totals = np.bincount(place, spans.duration) / 1e6
        return {
            Origin(*(ledger.sites[code] for code in divmod(pair, len(ledger.sites)))): total
            for pair, total in zip(pairs.tolist(), totals.tolist(), strict=True)
        }

    def _batch(self, span: Numbers, group: Numbers) -> Batch:
        ledger, spans = self._ledger, self._found.spans
        row = spans.row[span]
        first = np.flatnonzero(np.concatenate(([True], row[1:] != row[:-1])))
        seconds = np.add.reduceat(spans.duration[span], first)
        longest = int(np.argmax(seconds))
        of_longest = span[row == row[first[longest]]]
        example = of_longest[np.argmax(spans.duration[of_longest])]
        (checkout,) = ledger.checkouts(row[first[longest : longest + 1]])
        notes = [judged.note for judged in self._judged]
        return Batch(
            checkout=checkout,
            line=self._judged[group[first[longest]]].line,
            example=(
                ledger.seconds(spans.started[example]),
                ledger.seconds(spans.ended[example]),
            ),
            asked=ledger.process.began + ledger.asked[row[first]] / 1e6,
            seconds=seconds / 1e6,
            routes=_sums(ledger.route[row[first]], seconds, ledger.routes),
            notes=_sums(group[first], seconds, notes),
            origins=self._origins(span),
            wasted=(spans.started[span], spans.ended[span]),
        )


def origins(ledger: Ledger, found: Cut, spans: Spans) -> tuple[Numbers, Numbers]:
    """Where the connections of parts of gaps were asked for, and the lines before the gaps."""
    asked = ledger.site[spans.row]
    before = surroundings(found).reference[spans.gap]
    sites = found.operations.site
    after = np.where(before >= 0, sites[before] if len(sites) else 0, asked)
    return asked, after


def _sums(codes: Numbers, microseconds: Numbers, names: Sequence[Any]) -> dict[Any, float]:
    """Seconds by name."""
    found: dict[Any, float] = {}
    for code, total in enumerate(np.bincount(codes, microseconds, len(names)).tolist()):
        if total:
            found[names[code]] = found.get(names[code], 0.0) + total / 1e6
    return found


def _distinct(columns: Sequence[Numbers]) -> tuple[Numbers, Numbers]:
    """An index of each of the combinations that occur, and which of them each entry is."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        _, place = np.unique(column, return_inverse=True)
        _, codes = np.unique(codes * (int(place.max(initial=0)) + 1) + place, return_inverse=True)
    _, first = np.unique(codes, return_index=True)
    return first, codes
