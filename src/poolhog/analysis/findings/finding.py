"""What a finding is, and what its kind decides: whether it matters, its line and its evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from poolhog.analysis.findings.entry import Example, Occurrence, Occurrences
from poolhog.analysis.thresholds import Threshold

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from poolhog.analysis.findings.entry import Entry, Totals
    from poolhog.analysis.findings.lines import NamedLine
    from poolhog.analysis.findings.meaning import Lifetime, Piece
    from poolhog.analysis.thresholds import Thresholds
    from poolhog.model import Site

E_co = TypeVar("E_co", covariant=True)

LEAST_SHARE = Threshold("least_share", 0.01)
"""Of hogs: the part of all use seconds of the run that is wasted at one line."""


class Severity(IntEnum):
    """How bad it is, whatever it costs: findings are reported in this order, the worst first.

    ``LOST`` is for connections that nobody gives back. ``TIME`` is for what only costs time: the
    seconds that others waited, then those wasted.
    """

    FAILURE = 0
    DEADLOCK = 1
    LOST_WRITE = 2
    TIMEOUT = 3
    LOST = 4
    TIME = 5


class FindingKind(ABC, Generic[E_co]):
    """A kind of finding, whose evidence is an ``E_co``: one file, and one entry of ``KINDS``.

    Its ``name`` is what JSON calls it, and its section of ``docs/findings.md``. Its words are a row
    of ``render/findings.py``.

    - ``thresholds`` are its own; a user sets them by their names.
    - ``severity``: how bad it is; ``severity_of`` looks at the evidence, where it depends on that.
    - ``is_hog``: it matters by the time it wastes. One occurrence of any other kind is enough.
    - ``is_of_waits``: the seconds that it wastes are part of waits, not of use.
    - ``is_placeless``: its line does not identify it, so runs are compared without.
    - ``is_released``: a replay can predict the run as if its line released its connection.
    """

    name: ClassVar[str]
    thresholds: ClassVar[tuple[Threshold, ...]] = ()
    severity: ClassVar[Severity] = Severity.TIME
    is_hog: ClassVar[bool] = False
    is_of_waits: ClassVar[bool] = False
    is_placeless: ClassVar[bool] = False
    is_released: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def matters(self, entry: Entry, totals: Totals, easing: float = 1.0) -> bool:
        """Whether the entry reaches the thresholds, or the ``easing`` part of them."""
        least = easing * totals.thresholds[LEAST_SHARE] * totals.use
        return not self.is_hog or entry.whole >= least

    @abstractmethod
    def evidence(self, entry: Entry, totals: Totals) -> E_co:
        """The numbers and sites that an entry's words are made from."""

    # The evidence is this kind's own, whoever asks.
    def severity_of(self, evidence: Any) -> Severity:
        """How bad a finding with this evidence is."""
        return self.severity


AnyKind = FindingKind[Any]
"""A kind of finding, whatever its evidence: findings of all kinds are ranked together."""


class Claimed(NamedTuple):
    """A piece of a gap that a kind claimed, and the line that is answerable for it."""

    piece: Piece
    line: NamedLine


class GapKind(FindingKind[E_co]):
    """A kind of gap: each instant of a gap counts for the first kind of ``KINDS`` that claims it.

    - ``least``: the minimum of its seconds in one checkout; less is left out.
    - ``needs_sample``: pieces without a sample do not count. They are split later, in proportion to
      sampled gaps from the same line. If it is ``False``, the instant alone must tell the meaning.
    - ``is_estimated``: the parked seconds of unsampled pieces are added to its findings.
    """

    least: ClassVar[Threshold | None] = None
    needs_sample: ClassVar[bool] = True
    is_estimated: ClassVar[bool] = False

    @property
    def is_by_line(self) -> bool:
        """Whether each line is an occurrence, whatever else was found in its checkout."""
        return self.least is None and type(self).occurrences is GapKind.occurrences

    @abstractmethod
    def claims(self, piece: Piece, lifetime: Lifetime) -> bool:
        """Whether this is what the piece of a gap means; one without a sample may be parked."""

    def line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """The line to change, which is answerable for a piece that this kind claimed."""
        return lifetime.line_of(piece)

    def replayed_line(self, piece: Piece, lifetime: Lifetime) -> NamedLine:
        """The line at which a replay holds the connection, and can release it."""
        return self.line(piece, lifetime)

    def note(self, piece: Piece, lifetime: Lifetime) -> Hashable:
        """The evidence of the first piece of a checkout at a line; ``None``: there is none."""
        return None

    def occurrences(
        self, claimed: Sequence[Claimed], lifetime: Lifetime, thresholds: Thresholds
    ) -> Iterator[Occurrence]:
        """What was found in one checkout, of which these pieces were claimed: one for each line."""
        lines: dict[Site | None, list[Claimed]] = {}
        for one in claimed:
            lines.setdefault(one.line.site, []).append(one)
        found = [self._at_one_line(some, lifetime) for some in lines.values()]
        least = thresholds[self.least] if self.least is not None else 0.0
        if not least or sum(occurrence.seconds for occurrence in found) >= least:
            yield from found

    def _at_one_line(self, claimed: Sequence[Claimed], lifetime: Lifetime) -> Occurrence:
        first = claimed[0]
        note = self.note(first.piece, lifetime)
        return Occurrence(
            line=first.line,
            spans=[(piece.started, piece.ended) for piece, _ in claimed],
            notes=(note,) if note is not None else (),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A typed conclusion of a run.

    ``site`` is the line to change, ``None`` if it was not seen. ``routes`` are the names of the
    requests it happened in, the one with the most seconds first, and ``checkouts`` is how many it
    was seen in. ``seconds`` are the connection-seconds that it wasted, ``share`` is their part of
    all use seconds of the run (for kinds that are part of waits, of use and these seconds
    together). ``made_wait`` is the seconds of waiting that are charged to what was wasted here (see
    ``blame``), as far as it was seen; ``waiters`` are the routes that waited, the one that waited
    most first. ``evidence`` is what the kind has to say besides. ``awaiting`` is what was called
    from ``site``, down to the library, the innermost last. ``occurrences`` are what it was
    concluded from: ``seconds`` contains ``estimated`` seconds besides, of gaps without a sample.
    ``is_at_start`` tells that all of it is start-up code: it was over before the first request.
    """

    kind: AnyKind
    site: Site | None
    routes: tuple[str, ...]
    checkouts: int
    seconds: float
    share: float
    made_wait: float
    waiters: tuple[str, ...]
    evidence: object
    awaiting: tuple[Site, ...]
    example: Example
    occurrences: Occurrences = field(default_factory=Occurrences, compare=False, repr=False)
    estimated: float = 0.0
    is_at_start: bool = False

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return self.kind.severity_of(self.evidence)

    @property
    def is_harm(self) -> bool:
        """Whether something failed or was lost, and not only time."""
        return self.severity < Severity.TIME
