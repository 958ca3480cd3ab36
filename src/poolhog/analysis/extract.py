"""What of a trace is exported: the checkouts and requests of a selection, process by process."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import Shares
from poolhog.errors import PoolhogError
from poolhog.trace.lookup import (
    checkouts_within,
    counts_within,
    lanes_within,
    requests_within,
    uses_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.view import Selection
    from poolhog.model import Checkout, Pool, Process, Request
    from poolhog.trace.reader import ProcessReader


MOST_HELD = 20
"""Files of processes that go on, each of which takes three descriptors while it is held."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process's part, read anew each time it is asked for.

    ``key`` is what its ids begin with. ``shares`` are those of all its checkouts, as in a report.
    Checkouts and requests are whole: nothing is cut at the window's ends.
    """

    reader: ProcessReader
    selection: Selection
    shares: Shares
    counted: Callable[[Iterator[Checkout]], Iterator[Checkout]] = iter

    @property
    def key(self) -> str:
        """What sets the process apart, also from an earlier one with its pid."""
        return self.reader.name

    @property
    def process(self) -> Process:
        """The process."""
        return self.reader.process

    @property
    def pools(self) -> Sequence[Pool]:
        """Its pools."""
        return self.reader.pools

    def checkouts(self) -> Iterator[Checkout]:
        """The checkouts in the order of their asking; how many were read is told."""
        chosen = self.selection
        found = checkouts_within([self.reader], *chosen.bounds, names=chosen.names)
        return self.counted(found)

    def sampled(self) -> Iterator[Checkout]:
        """Those that have samples."""
        chosen = self.selection
        return checkouts_within([self.reader], *chosen.bounds, names=chosen.names, sampled=True)

    def connections(self) -> Iterator[Iterator[Checkout]]:
        """The same, but for those that got none, of one connection after the other."""
        chosen = self.selection
        for lane in lanes_within(self.reader, *chosen.bounds, names=chosen.names):
            yield self.counted(uses_of(self.reader, lane, *chosen.bounds, names=chosen.names))

    def requests(self) -> Iterator[Request]:
        """The requests in the order of their start, with a checkout or without."""
        chosen = self.selection
        return requests_within(self.reader, *chosen.bounds, names=chosen.names)


@dataclass(frozen=True, slots=True)
class Extract:
    """All that is exported; ``checkouts`` is how many there are."""

    parts: Sequence[Part]
    checkouts: int

    @property
    def began_wall(self) -> float:
        """The Unix time of the run's zero."""
        process = self.parts[0].process
        return process.began_wall - process.began


@contextmanager
def extract(
    selection: Selection, counted: Callable[[Iterator[Checkout]], Iterator[Checkout]] = iter
) -> Iterator[Extract]:
    """The selection as it is at one moment, also of processes that go on.

    ``counted`` may look at the checkouts as they are read. Raises :class:`poolhog.PoolhogError`
    if there are none, and :class:`poolhog.TraceError` if they cannot be read.
    """
    with ExitStack() as stack:
        for number, reader in enumerate(selection.readers):
            stack.enter_context(reader.frozen(by_copy=number >= MOST_HELD))
        bounds, names = selection.bounds, selection.names
        _, _, checkouts = counts_within(selection.readers, *bounds, names=names)
        if not checkouts:
            raise PoolhogError("no connection was asked for in this window by such requests")
        parts = [Part(reader, selection, _shares(reader), counted) for reader in selection.readers]
        yield Extract(parts, checkouts)


def _shares(reader: ProcessReader) -> Shares:
    return Shares(reader.checkouts(sampled=True), reader.process.written)
