"""How many connections were in which state, and how many requests waited, over a whole run.

Filled as a companion of the report, so it takes no reading of its own. Of quiet checkouts the busy
part is told by their sum: within a bin, it is that of the average one. What is in the bins adds up
to what the report says.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import GAPS, State, end_of, end_of_wait, gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.accounting import Gap, Shares, Told
    from poolhog.analysis.quiet import Quiet
    from poolhog.model import Checkout, Process, Site

LENT = (State.BUSY, *GAPS)
"""The states of a connection that is lent."""

MOST_BINS = 2_000


class Bins:
    """Equal bins between two instants of the run's clock. Rows are seconds, bin by bin."""

    def __init__(self, started: float, ended: float, count: int = MOST_BINS) -> None:
        self.started = started
        self.ended = max(ended, started + 1e-6)
        self.count = count
        self.width = (self.ended - started) / count
        self.lent = {state: self._row() for state in LENT}
        self.waited = self._row()
        # Microseconds since ``started``: when each was asked for, got or given up, and over.
        self.asked = array("q")
        self.answered = array("q")
        self.over = array("q")
        self._untold: dict[Site | None, list[float]] = {}
        self._quiet: list[tuple[Quiet, Told]] = []

    def add(self, checkout: Checkout, told: Told, parts: Sequence[Gap] | None) -> None:
        """Add a checkout."""
        until = checkout.pool.process.written
        granted, end = end_of_wait(checkout, until), end_of(checkout, until)
        self._note(checkout.asked, granted, end)
        if checkout.granted is None:
            return
        first = self._bin(granted)
        if parts is None and end <= self.begin(first + 1):
            self.lent[State.BUSY][first] += told.busy
            self._untold_at(checkout.site)[first] += told.untold
            return
        busy = self.lent[State.BUSY]
        self._spread(busy, granted, end)
        if parts is None:
            untold = self._untold_at(checkout.site)
            for started, ended in gaps(checkout, until):
                self._spread(busy, started, ended, -1.0)
                self._spread(untold, started, ended)
        for gap in parts or ():
            self._spread(busy, gap.started, gap.ended, -1.0)
            for stretch in gap.stretches:
                self._spread(self.lent[stretch.state], stretch.started, stretch.ended)
            if not gap.stretches:
                self._spread(self._untold_at(checkout.site), gap.started, gap.ended)

    def pass_by(self, quiet: Quiet, told: Told) -> None:
        """Add quiet checkouts, when their process is known."""
        self._quiet.append((quiet, told))

    def close(self, process: Process, shares: Shares) -> None:
        """Split what no sample told about."""
        for quiet, told in self._quiet:
            self._pass_by(quiet, told, process.began)
        self._quiet.clear()
        for site, row in self._untold.items():
            share = shares.at(site)
            for state, part in zip(GAPS, share, strict=True):
                if part:
                    into = self.lent[state]
                    for index, seconds in enumerate(row):
                        into[index] += seconds * part
        self._untold.clear()

    def begin(self, index: int) -> float:
        """When a bin begins; the one after the last, when the last ends."""
        return self.started + index * self.width if index < self.count else self.ended

    def most_waiting(self) -> list[int]:
        """How many waited at one instant of each bin, at the most."""
        waits = [(a, b) for a, b in zip(self.asked, self.answered, strict=True) if b > a]
        starts, ends = sorted(a for a, _ in waits), sorted(b for _, b in waits)
        most = [0] * self.count
        over = begun = 0
        for index in range(self.count):
            begin, end = self._us(self.begin(index)), self._us(self.begin(index + 1))
            while over < len(ends) and ends[over] <= begin:
                over += 1
            peak = max(begun - over, 0)
            while begun < len(starts) and (starts[begun] < end or index == self.count - 1):
                at = starts[begun]
                begun += 1
                while over < len(ends) and ends[over] <= at:
                    over += 1
                peak = max(peak, begun - over)
            most[index] = peak
        return most

    def overlapping(self, from_us: int, to_us: int) -> int:
        """How many checkouts were asked for before the one instant and over after the other.

        Only once all were added, and put in order by ``settle``.
        """
        return bisect_left(self.asked, to_us) - bisect_left(self.over, from_us)

    def settle(self) -> None:
        """All processes were added: what ``overlapping`` and ``most_waiting`` need is put in order.

        The instants of one checkout are no longer at the same place after that.
        """
        self.peaks = self.most_waiting()
        self.asked = array("q", sorted(self.asked))
        self.over = array("q", sorted(self.over))

    def _pass_by(self, quiet: Quiet, told: Told, began: float) -> None:
        since = round((began - self.started) * 1e6)
        self.asked.extend(since + at for at in quiet.asked)
        self.answered.extend(since + at for at in quiet.granted)
        self.over.extend(since + at for at in quiet.returned)
        use = self._row()
        width_us = self.width * 1e6
        for asked, granted, returned in zip(
            quiet.asked, quiet.granted, quiet.returned, strict=True
        ):
            for row, start, end in ((self.waited, asked, granted), (use, granted, returned)):
                first = int((since + start) / width_us)
                if end > start and first == int((since + end) / width_us) < self.count:
                    row[first] += (end - start) / 1e6
                else:
                    self._spread(row, began + start / 1e6, began + end / 1e6)
        whole = told.busy + told.untold
        share = told.busy / whole if whole else 0.0
        busy, untold = self.lent[State.BUSY], self._untold_at(quiet.site)
        for index, seconds in enumerate(use):
            busy[index] += seconds * share
            untold[index] += seconds * (1 - share)

    def _note(self, asked: float, answered: float, over: float) -> None:
        self.asked.append(self._us(asked))
        self.answered.append(self._us(answered))
        self.over.append(self._us(over))
        self._spread(self.waited, asked, answered)

    def _us(self, at: float) -> int:
        return round((at - self.started) * 1e6)

    def _bin(self, at: float) -> int:
        return min(max(int((at - self.started) / self.width), 0), self.count - 1)

    def _row(self) -> list[float]:
        return [0.0] * self.count

    def _untold_at(self, site: Site | None) -> list[float]:
        found = self._untold.get(site)
        if found is None:
            found = self._untold[site] = self._row()
        return found

    def _spread(self, row: list[float], started: float, ended: float, sign: float = 1.0) -> None:
        """Add the part of the interval that lies in each bin."""
        if ended <= started:
            return
        first, last = self._bin(started), self._bin(ended)
        if first == last:
            row[first] += sign * (ended - started)
            return
        for index in range(first, last + 1):
            overlap = min(ended, self.begin(index + 1)) - max(started, self.begin(index))
            if overlap > 0:
                row[index] += sign * overlap
