"""What ``poolhog top`` shows, as lines: of a screen of some size, or of a text that is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from poolhog.analysis.liveness import Liveness, written_wall
from poolhog.render.dump import known_told, verdict
from poolhog.render.dump_json import dump_json, written_at
from poolhog.render.holders import conclusion_told
from poolhog.render.losses import loss_lines, losses_json
from poolhog.render.output import paragraph
from poolhog.render.palette import TERMINAL_MUTED, TERMINAL_WARNING
from poolhog.render.top_tables import pools_table
from poolhog.render.top_views import FINDINGS, VIEWS, Choice, Showing
from poolhog.render.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.live import Live, LivePool, LiveRoute

LEAST_WIDTH, LEAST_HEIGHT = 60, 18
"""The smallest terminal that the screen fits into."""

TALL = 36
"""Lines of a screen from which on all views have room, one below the other."""

_MOST_CONCLUSIONS = 2
_MOST_BESIDE = 5
_MOST_PRINTED = 50


def screen(showing: Showing, choice: Choice, width: int, height: int) -> list[Text]:
    """The lines of a screen of this size, whatever there is to show."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        size = f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
        return list(paragraph(f"This terminal is too small: {size} is needed.", width))
    view = VIEWS[choice.view]
    rows = view.rows(showing, choice)
    top = list(_top(showing, choice, width, most_pools=max(height // 7, 3)))
    bottom = [_keys(choice, width)]
    if rows:
        told = view.brief(rows[min(choice.row, len(rows) - 1)])
        bottom[:0] = [_cut(Text(line, TERMINAL_MUTED), width) for line in told]
    beside = list(_beside(showing, choice, width)) if height >= TALL else []
    room = max(height - len(top) - len(bottom) - len(beside), 3)
    lines = [_tabs(showing, choice, width), *_rows(showing, choice, rows, width, room - 1)]
    filling = [Text()] * (room - len(lines))
    return [*top, *lines, *filling, *beside, *bottom][:height]


def top_lines(showing: Showing, choice: Choice, width: int) -> Iterator[Text]:
    """All that the screens of a run show, as a text."""
    yield from _top(showing, choice, width, most_pools=_MOST_PRINTED)
    for number, view in enumerate(VIEWS):
        chosen = Choice(number, choice.order, choice.is_reversed, choice.text)
        rows = view.rows(showing, chosen)
        yield Text()
        yield Text(f"{view.title(showing)}{_age(showing, number)}", "bold")
        if not rows:
            yield Text(view.nothing(showing), TERMINAL_MUTED)
            continue
        heading, lines = view.table(showing, chosen, rows[:_MOST_PRINTED], width)
        yield heading
        yield from lines
        if len(rows) > _MOST_PRINTED:
            more = count(len(rows) - _MOST_PRINTED, "row")
            yield Text(f"… and {more} more; --json has all", TERMINAL_MUTED)


def details(showing: Showing, choice: Choice, width: int) -> list[Text]:
    """All that is known of the row that is chosen; empty if there is none."""
    view = VIEWS[choice.view]
    rows = view.rows(showing, choice)
    return list(view.details(rows[min(choice.row, len(rows) - 1)], width)) if rows else []


def top_json(showing: Showing) -> dict[str, Any]:
    """The run as documented in ``docs/top.md``."""
    # A large part of the program, which is needed for a report only.
    from poolhog.render.report import finding_json

    live, so_far = showing.live, showing.so_far
    report = so_far.report if so_far is not None else None
    return {
        **losses_json(live.unreadable, live.processes),
        "is_over": live.is_over,
        **dump_json(live.dumps),
        "routes": [_route_json(route) for route in live.routes],
        "findings": None
        if report is None
        else [finding_json(finding) for finding in report.findings],
    }


def _route_json(route: LiveRoute) -> dict[str, Any]:
    return {
        "route": route.name,
        "held": route.held,
        "unused": route.unused,
        "longest_held_s": route.longest_held,
        "waiting": route.waiting,
        "longest_wait_s": route.longest_wait,
    }


def _top(showing: Showing, choice: Choice, width: int, *, most_pools: int) -> Iterator[Text]:
    """What stands above the views: the run, what is wrong with it, the conclusion, the pools."""
    live = showing.live
    yield _heading(showing, choice, width)
    for told in known_told(live.dumps):
        yield from paragraph(f"! {told}", width, TERMINAL_WARNING, 2)
    yield from loss_lines(live.unreadable, live.processes, width)
    for one in live.conclusions[:_MOST_CONCLUSIONS]:
        yield from paragraph(conclusion_told(one), width, "bold")
    if not live.conclusions:
        yield from paragraph(verdict(live.dumps), width, "bold")
    # A pool in which nothing happens may be an earlier one of an engine that was disposed of.
    active = [pool for pool in live.pools if pool.out or pool.waiting] or live.pools[:1]
    shown = active[:most_pools]
    if shown:
        heading, lines = pools_table(shown, width, with_pid=showing.has_many)
        yield heading
        yield from lines
    if len(shown) < len(live.pools):
        yield Text(_more(live.pools[len(shown) :]), TERMINAL_MUTED)


def _more(pools: Sequence[LivePool]) -> str:
    """What is not shown of the pools."""
    told = count(len(pools), "pool")
    idle = sum(not pool.out and not pool.waiting for pool in pools)
    if idle == len(pools):
        return f"… and {told} with nothing lent"
    exhausted = sum(pool.is_exhausted for pool in pools)
    return f"… and {told} more, {exhausted or 'none'} of them exhausted"


def _heading(showing: Showing, choice: Choice, width: int) -> Text:
    state = _life(showing.live)
    if choice.is_frozen:
        state = f"FROZEN, {state}"
    line = Text.assemble(("poolhog top", "bold"), f"  {showing.title}")
    line = _cut(line, max(width - len(state) - 2, 12))
    return Text.assemble(line, " " * max(width - len(line) - len(state), 2), (state, "bold"))


def _life(live: Live) -> str:
    """How many processes run, and as of when."""
    latest = max(live.processes, key=written_wall)
    at = f"as of {written_at(latest):%H:%M:%S}"
    every = len(live.dumps)
    if live.is_over:
        dead = sum(dump.liveness is Liveness.DEAD for dump in live.dumps)
        told = f"{dead:,} of {count(every, 'process')} died" if every > 1 else "the process died"
        return f"{told if dead else 'the run is over'}, {at}"
    running = sum(not dump.liveness.is_over for dump in live.dumps)
    told = f"{running:,} of " if running < every else ""
    return f"{told}{count(every, 'process')} running, {at}"


def _tabs(showing: Showing, choice: Choice, width: int) -> Text:
    """The names of the views, the one with the cursor in brackets; and what was looked for."""
    line = Text()
    for number, view in enumerate(VIEWS):
        is_chosen = number == choice.view
        title = f"{view.title(showing)}{_age(showing, number)}"
        line.append(f"[{title}]" if is_chosen else f" {title} ", "bold" if is_chosen else "")
        line.append(" ")
    if choice.text:
        line.append(f" /{choice.text}", "bold")
    if choice.view == 0 and choice.is_reversed:
        line.append("  reversed", TERMINAL_MUTED)
    return _cut(line, width)


def _age(showing: Showing, number: int) -> str:
    """How old the findings are: they are not of now."""
    so_far = showing.so_far
    if VIEWS[number].name != FINDINGS or so_far is None:
        return " being computed" if VIEWS[number].name == FINDINGS else ""
    return f", {max(showing.now - so_far.at, 0.0):.0f} s ago"


def _rows(
    showing: Showing, choice: Choice, rows: Sequence[Any], width: int, room: int
) -> Iterator[Text]:
    """A view's heading and as many rows as have room, among them the one with the cursor."""
    view = VIEWS[choice.view]
    if not rows:
        none = f"Nothing here has the text {choice.text}." if choice.text else view.nothing(showing)
        yield from paragraph(f"  {none}", width, TERMINAL_MUTED, 2)
        return
    fits = max(room - 1, 1)
    chosen = min(choice.row, len(rows) - 1)
    first = max(min(chosen - fits // 2, len(rows) - fits), 0)
    heading, lines = view.table(showing, choice, rows[first : first + fits], width - 2)
    yield Text.assemble("  ", heading)
    for number, line in enumerate(lines, first):
        shown = Text.assemble("> " if number == chosen else "  ", line)
        if number == chosen:
            shown.stylize("reverse")
        yield shown


def _beside(showing: Showing, choice: Choice, width: int) -> Iterator[Text]:
    """The other views, in short."""
    for number, view in enumerate(VIEWS):
        if number == choice.view:
            continue
        chosen = Choice(view=number, order=choice.order)
        rows = view.rows(showing, chosen)
        yield Text()
        yield Text(f" {view.title(showing)}{_age(showing, number)}", "bold")
        if not rows:
            yield Text(f"  {view.nothing(showing)}", TERMINAL_MUTED)
            continue
        heading, lines = view.table(showing, chosen, rows[:_MOST_BESIDE], width - 2)
        yield from (Text.assemble("  ", line) for line in (heading, *lines))
        if len(rows) > _MOST_BESIDE:
            yield Text(f"  … and {len(rows) - _MOST_BESIDE:,} more", TERMINAL_MUTED)


_KEYS = (
    ("q", "quit"),
    ("Space", "freeze"),
    ("/", "find"),
    ("s", "sort"),
    ("r", "reverse"),
    ("Tab", "next view"),
    ("Enter", "details"),
)


def _keys(choice: Choice, width: int) -> Text:
    line = Text()
    for key, what in _KEYS:
        told = "go on" if what == "freeze" and choice.is_frozen else what
        line.append(key, "bold")
        line.append(f" {told}  ", TERMINAL_MUTED)
    return _cut(line, width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
