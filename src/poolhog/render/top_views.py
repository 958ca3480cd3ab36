"""The views of ``poolhog top``: for each kind of row its order, its table, and one row in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rich.text import Text

from poolhog.render.dump import held_lines, waiting_lines
from poolhog.render.findings import advice, detail
from poolhog.render.holders import asker
from poolhog.render.output import paragraph
from poolhog.render.palette import TERMINAL_MUTED
from poolhog.render.top_tables import checkouts_table, findings_table, routes_table
from poolhog.render.words import count, path_and_line, short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.findings_so_far import SoFar
    from poolhog.analysis.live import Live, LiveCheckout, LiveRoute
    from poolhog.model import Site

T = TypeVar("T")

FINDINGS = "findings"
"""The view whose rows are not of now."""

Table = tuple[Text, list[Text]]
"""A heading, and a line for each row."""


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown of a run: how it stands, and what was concluded of all ``so_far``.

    ``now`` is a reading of the monotonic clock, in seconds. ``so_far`` is ``None`` until the first
    report of the run is there.
    """

    live: Live
    title: str
    so_far: SoFar | None = None
    now: float = 0.0

    @property
    def has_many(self) -> bool:
        """Whether there are several processes to tell apart."""
        return len(self.live.dumps) > 1


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody chose to look at: a view, an order, a text to look for, and a row."""

    view: int = 0
    order: int = 0
    is_reversed: bool = False
    text: str = ""
    row: int = 0
    is_frozen: bool = False


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """A kind of row.

    - ``rows`` are those that have the text that was looked for, in the order that was chosen.
    - ``table`` makes a table of some rows that is at most so wide.
    - ``brief`` is one row in two lines, ``details`` all that is known of it, in so many columns.
    - ``nothing`` says why there are no rows, ``key`` which row of a later look is the same.
    """

    name: str
    rows: Callable[[Showing, Choice], Sequence[T]]
    table: Callable[[Showing, Choice, Sequence[T], int], Table]
    brief: Callable[[T], tuple[str, str]]
    details: Callable[[T, int], Iterator[Text]]
    nothing: Callable[[Showing], str]
    key: Callable[[T], object]

    def title(self, showing: Showing) -> str:
        """The view's name, with how many rows there are."""
        if self.name == FINDINGS and showing.so_far is None:
            return self.name
        return f"{self.name} {len(self.rows(showing, Choice())):,}"


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the checkouts: the heading of a column, and what comes first has the least."""

    heading: str
    key: Callable[[LiveCheckout], tuple[Any, ...]]


def _line(one: LiveCheckout) -> tuple[str, int]:
    return (one.line.file, one.line.line) if one.line is not None else ("", 0)


ORDERS = (
    Order("AGE", lambda one: (-one.age,)),
    Order("FOR", lambda one: (-one.state_seconds,)),
    Order("STATE", lambda one: (one.what, -one.age)),
    Order("ROUTE OR TASK", lambda one: (one.route, -one.age)),
    Order("LINE", lambda one: (_line(one), -one.age)),
)
"""The orders of the checkouts, of which a key chooses the next."""


def _checkouts(showing: Showing, choice: Choice) -> Sequence[LiveCheckout]:
    wanted = choice.text.casefold()
    every = showing.live.checkouts
    found = [one for one in every if wanted in _searched(one)] if wanted else list(every)
    found.sort(key=ORDERS[choice.order].key, reverse=choice.is_reversed)
    return found


def _searched(one: LiveCheckout) -> str:
    request = one.checkout.request
    line = "" if one.line is None else f"{one.line.file}:{one.line.line} {one.line.function}"
    path = "" if request is None else request.path
    parts = one.route, path, one.checkout.owner, line, one.what, one.pool.name, one.process.pid
    return " ".join(map(str, parts)).casefold()


def _checkouts_table(
    showing: Showing, choice: Choice, rows: Sequence[LiveCheckout], width: int
) -> Table:
    with_pool = len({pool.pool.name for pool in showing.live.pools}) > 1
    sort = ORDERS[choice.order].heading
    return checkouts_table(rows, width, with_pid=showing.has_many, with_pool=with_pool, sort=sort)


def _checkout_brief(one: LiveCheckout) -> tuple[str, str]:
    owner = "" if one.checkout.request is None else f"  {one.checkout.owner}"
    return f"{asker(one.checkout)}{owner}", _site_told(one.line)


def _site_told(site: Site | None) -> str:
    if site is None:
        return "the line is not known"
    return f"{path_and_line(site)} {short_name(site.name)}  {site.source}".rstrip()


def _checkout_details(one: LiveCheckout, width: int) -> Iterator[Text]:
    checkout, process = one.checkout, one.process
    yield Text(f"process {process.pid}, pool {one.pool.name} ({one.pool.library})", "bold")
    owner = "" if checkout.request is None else f", {checkout.owner}"
    yield Text(f"checkout {checkout.id}{owner}", TERMINAL_MUTED)
    yield Text()
    if one.holding is not None:
        yield from held_lines([one.holding.held], every=True, width=width)
        if one.holding.held.site is not None and checkout.site is not None:
            yield Text()
            yield Text("    asked for the connection at", TERMINAL_MUTED)
            yield Text(f"      {_site_told(one.checkout.site)}")
    elif one.waiting is not None:
        yield from waiting_lines([one.waiting], every=True, width=width)


def _no_checkouts(showing: Showing) -> str:
    if showing.live.is_over:
        return "No connection was lent when the run ended."
    return "No connection is lent, and nobody waits for one."


def _routes(showing: Showing, choice: Choice) -> Sequence[LiveRoute]:
    wanted = choice.text.casefold()
    return [one for one in showing.live.routes if wanted in one.name.casefold()]


def _route_brief(route: LiveRoute) -> tuple[str, str]:
    held = f"holds {count(route.held, 'connection')}, {route.unused:,} without an operation"
    return route.name, f"{held}; {count(route.waiting, 'request')} waiting"


def _findings(showing: Showing, choice: Choice) -> Sequence[Finding]:
    report = showing.so_far.report if showing.so_far is not None else None
    wanted = choice.text.casefold()
    found = report.findings if report is not None else ()
    return [one for one in found if wanted in _finding_text(one)]


def _finding_text(one: Finding) -> str:
    line = path_and_line(one.site) if one.site is not None else ""
    return " ".join([one.kind.name, line, *one.routes]).casefold()


def _finding_details(one: Finding, width: int) -> Iterator[Text]:
    yield Text(one.kind.name, "bold")
    yield Text(_site_told(one.site) if one.site is not None else "")
    yield Text()
    for told in (f"{detail(one)}.", f"In {', '.join(one.routes)}." if one.routes else ""):
        yield from paragraph(told, width)
    yield Text()
    yield from paragraph(f"→ {advice(one)}", width, "bold", 2)


def _no_findings(showing: Showing) -> str:
    so_far = showing.so_far
    if so_far is None:
        return "The findings of the run so far are being computed."
    if so_far.report is None:
        return f"The findings could not be computed: {so_far.error}"
    return "Nothing held a connection without need so far."


VIEWS: tuple[View[Any], ...] = (
    View(
        "checkouts",
        _checkouts,
        _checkouts_table,
        _checkout_brief,
        _checkout_details,
        _no_checkouts,
        lambda one: one.checkout.id,
    ),
    View(
        "routes",
        _routes,
        lambda _, __, rows, width: routes_table(rows, width),
        _route_brief,
        lambda route, width: paragraph(". ".join(_route_brief(route)), width),
        _no_checkouts,
        lambda route: route.name,
    ),
    View(
        FINDINGS,
        _findings,
        lambda _, __, rows, width: findings_table(rows, width),
        lambda one: (detail(one), _site_told(one.site)),
        _finding_details,
        _no_findings,
        lambda one: (one.kind.name, one.site and (one.site.file, one.site.line)),
    ),
)
"""The views, of which a key chooses the next."""
