"""held-while-streaming: a connection is parked while the response, or a message, is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.accounting import State
from poolhog.analysis.findings.circumstances import Circumstances, circumstances
from poolhog.analysis.findings.finding import Claimed, GapKind
from poolhog.analysis.thresholds import Threshold
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolhog.analysis.findings.entry import Entry, Occurrence, Spread, Totals
    from poolhog.analysis.findings.lines import NamedLine
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Request, Site

STREAMING_S = Threshold("streaming_s", 0.05)
"""Parked while the response is sent, in one checkout."""

_WORK = (OperationKind.STATEMENT, OperationKind.FETCH)
_WEBSOCKET_CALLS = ("receive", "send", "iter_")


class AskedAt(NamedTuple):
    """Where the connection was asked for, and how the code held it; ``None``: that is not known.

    ``uses_it`` says whether something was asked for on it while the response was sent.
    """

    site: Site | None
    circumstances: Circumstances | None = None
    uses_it: bool = False


@dataclass(frozen=True, slots=True)
class WhileStreaming:
    """How long it was parked meanwhile in one checkout, and for how long from which asking."""

    spread: Spread
    asked_at: Mapping[AskedAt, float]


class HeldWhileStreaming(GapKind[WhileStreaming]):
    """Parked from the start of the response to its end, or for a message of a websocket."""

    name = "held-while-streaming"
    thresholds = (STREAMING_S,)
    is_hog = True
    is_released = True
    least = STREAMING_S

    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether the response was being sent. Of a websocket, other work is work like any."""
        request = lifetime.checkout.request
        if piece.state is State.RUNNING or request is None or request.responding is None:
            return False
        if piece.started < request.responding and not _goes_on(piece, request):
            return False
        if request.responded is not None and piece.started >= request.responded:
            return False
        return request.kind != "websocket" or _is_about_message(piece)

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """Where the owner was parked: not the middleware that passes the response on."""
        return lifetime.line_behind_middleware(piece)

    def occurrences(
        self, claimed: Sequence[Claimed], lifetime: Lifetime, thresholds: Thresholds
    ) -> Iterator[Occurrence]:
        """A stream waits for a moment at many lines: these moments are parts of its longest line.

        So is the time in which only the framework was seen, if another line was.
        """
        asked_at = lifetime.checkout.site
        seconds: dict[Site | None, float] = {}
        for piece, line in claimed:
            seconds[line.site] = seconds.get(line.site, 0.0) + piece.seconds
        longest = max(seconds, key=lambda site: (site != asked_at, seconds[site]), default=None)
        known = {line.site: line for _, line in claimed}
        least = thresholds[STREAMING_S]
        merged = [
            one
            if seconds[one.line.site] >= least and one.line.site != asked_at
            else Claimed(one.piece, known[longest])
            for one in claimed
        ]
        yield from super().occurrences(merged, lifetime, thresholds)

    def note(self, piece: Piece, lifetime: Lifetime) -> AskedAt:
        """Where the connection was asked for, and how it was held."""
        checkout = lifetime.checkout
        request = checkout.request
        began = request.responding if request is not None else None
        uses_it = began is not None and any(
            o.started > began and o.kind in _WORK for o in checkout.operations
        )
        found = circumstances(piece, lifetime, self.line(piece, lifetime))
        return AskedAt(checkout.site, found, uses_it)

    def evidence(self, entry: Entry, totals: Totals) -> WhileStreaming:
        """How long, and asked for where."""
        return WhileStreaming(entry.spread, entry.noted(AskedAt))


HELD_WHILE_STREAMING = HeldWhileStreaming()


def _goes_on(piece: Piece, request: Request) -> bool:
    """Whether a response that is streamed began while the owner waited at one place."""
    sample, began, ended = piece.sample, request.responding, request.responded
    if sample is None or began is None or sample.started > began:
        return False
    is_streamed = ended is None or ended - began >= STREAMING_S.default
    return is_streamed and (sample.ended is None or sample.ended > began)


def _is_about_message(piece: Piece) -> bool:
    frames = piece.seen.stack if piece.seen is not None else ()
    return any(
        not frame.is_application and frame.function.rpartition(".")[2].startswith(_WEBSOCKET_CALLS)
        for frame in frames
    )
