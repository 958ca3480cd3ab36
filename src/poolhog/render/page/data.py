"""The data that the page's script draws from, encoded once, small enough for one file.

Its form is described in ``docs/dev/page-data.md``. Instants are whole microseconds since the
timeline's start, or since the start of a request that is told step by step; columns whose names end
in ``_d`` have differences from the value before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import end_of, end_of_wait, total
from poolhog.analysis.downsampling import downsampled
from poolhog.analysis.lanes import ConnectionLanes, packed
from poolhog.analysis.lifecycle import LifeSpan, lifecycle_of
from poolhog.analysis.owners import key_of, route_of
from poolhog.analysis.request_log import beginning_of_log
from poolhog.analysis.shown import of_state, states_of
from poolhog.render.lifecycle import LIFE_WORDS, verdict
from poolhog.render.page.links import NO_LINKS
from poolhog.render.page.run import PageRun, Room, page_run
from poolhog.render.page.texts import NONE, Interned, embedded, page_text
from poolhog.render.palette import LENT, STATES
from poolhog.render.request_log import event_text
from poolhog.render.view import window_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.analysis.digest import Digest
    from poolhog.analysis.owners import Owner
    from poolhog.analysis.request_log import LogEvent
    from poolhog.analysis.shown import Span
    from poolhog.model import Checkout
    from poolhog.render.page.links import Links
    from poolhog.render.page.run import RunBins, TreeColumns

VERSION = 2
"""The version of the data's form."""

MOST_BYTES = 4_300_000
"""Bytes of the data of a page, all runs together."""

MOST_LINES = 200
"""Lines of a request's log."""

NO_REQUEST = -1
"""The status of an owner without a request."""

_LEAST_REQUESTS = 30
_LEAST_LINES = 20
_TRIES = 6
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class PageData:
    """The runs of a page, and the JSON that the script reads, escaped for HTML.

    ``made_at`` is the local time at which the page was made, ``version`` that of poolhog.
    """

    runs: Sequence[PageRun]
    encoded: str
    made_at: str
    version: str


def page_data(
    sides: Sequence[tuple[str, Digest]], *, version: str, links: Sequence[Links] = ()
) -> PageData:
    """Take what a page shows of these runs, each with its label, and encode it.

    ``links`` are those of each run; without them no command is shown, and no line is linked.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    most = MOST_BYTES // max(len(sides), 1)
    given = links or [NO_LINKS] * len(sides)
    fitted = [
        fitted_run(label, whole, most, one)
        for (label, whole), one in zip(sides, given, strict=True)
    ]
    encoded = ",".join(text for _, text in fitted)
    return PageData(
        runs=[run for run, _ in fitted],
        encoded=f'{{"version":{VERSION},"sides":[{encoded}]}}',
        made_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        version=version,
    )


def fitted_run(
    label: str, whole: Digest, most: int, links: Links = NO_LINKS
) -> tuple[PageRun, str]:
    """Return a run with as much detail as fits into ``most`` bytes of JSON, and that JSON.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    room, lines = Room(), MOST_LINES
    for _ in range(_TRIES):
        run = page_run(label, whole, room, links)
        data = run_data(run, lines)
        encoded = embedded(data)
        size = len(encoded.encode())
        if size <= most:
            break
        share = most / size * 0.9
        room = replace(
            room,
            checkouts=int(min(room.checkouts, len(run.checkouts)) * share),
            requests=max(room.requests // 2, _LEAST_REQUESTS),
            spans=int(min(room.spans, len(data["timeline"]["spans"]["start"])) * share),
        )
        lines = max(lines // 2, _LEAST_LINES)
    return run, encoded


def run_data(run: PageRun, lines: int = MOST_LINES) -> dict[str, Any]:
    """Return the data of one run, with at most ``lines`` lines of each log."""
    interned = Interned()
    timeline = timeline_data(run, interned)
    return {
        "label": page_text(run.label),
        "spent_s": {state.value: getattr(run.report.spent, state.value) for state in LENT},
        "timeline": timeline,
        "lives": requests_data(run, interned, lines),
        "tree": _tree(run.tree, interned),
        "links": run.links.json(interned.files),
        "texts": interned.texts,
        "sites": interned.sites,
    }


def timeline_data(run: PageRun, interned: Interned) -> dict[str, Any]:
    """Return the columns of the timeline."""
    text = interned.text
    lanes, lanes_of_pool = _connection_lanes(run)
    requests = _requests(run, interned)
    return {
        "started_s": run.started,
        "ended_s": run.ended,
        "complete": run.is_complete,
        "left_out": {
            "checkouts": run.left_out.checkouts,
            "requests": run.left_out.requests,
            "spans": run.left_out.spans,
        },
        "windows": [
            [run.us(w.started), run.us(w.ended), text(window_reason(w))] for w in run.windows
        ],
        "bins": _bins(run.bins, interned),
        "pools": [
            {
                "id": pool.id,
                "name": page_text(pool.name),
                "pid": pool.process.pid,
                "capacity": pool.capacity,
                "lanes": max(lanes_of_pool.get(pool.id, 0), pool.size or 0),
            }
            for pool in run.pools
        ],
        "request_lanes": max(requests["lane"], default=NONE) + 1,
        "requests": requests,
        "checkouts": _checkouts(run, lanes, interned),
        "spans": _spans(run, interned),
        "whats": interned.whats,
    }


def _requests(run: PageRun, interned: Interned) -> dict[str, list[int]]:
    text = interned.text
    spans = [(run.us(one.started), run.us(one.ended)) for one in run.owners]
    requests = [one.request for one in run.owners]
    return {
        "id": [text(one.key) for one in run.owners],
        "name": [text(route_of(one.checkouts[0])) for one in run.owners],
        "path": [text(r.path if r is not None else "") for r in requests],
        "status": [NO_REQUEST if r is None else r.status or 0 for r in requests],
        "lane": packed(spans),
        "start_d": differences(start for start, _ in spans),
        "length": [end - start for start, end in spans],
        "responding": [
            NONE if r is None or r.responding is None else run.us(r.responding) - start
            for r, (start, _) in zip(requests, spans, strict=True)
        ],
    }


def _connection_lanes(run: PageRun) -> tuple[dict[str, int], dict[str, int]]:
    """Return the lane of each checkout that got a connection, and the number of each pool's."""
    lanes: dict[str, ConnectionLanes] = {}
    found: dict[str, int] = {}
    lent = [c for c in run.checkouts if c.granted is not None]
    for checkout in sorted(lent, key=lambda c: (c.granted or 0.0, c.id)):
        of_pool = lanes.setdefault(checkout.pool.id, ConnectionLanes())
        granted = checkout.granted or 0.0
        found[checkout.id] = of_pool.take(checkout.connection, granted, _end(checkout))
    return found, {pool: len(taken) for pool, taken in lanes.items()}


def _checkouts(run: PageRun, lanes: Mapping[str, int], interned: Interned) -> dict[str, list[int]]:
    checkouts = run.checkouts
    text, site = interned.text, interned.site
    pools = {pool.id: index for index, pool in enumerate(run.pools)}
    asked = [run.us(c.asked) for c in checkouts]
    answered = [run.us(end_of_wait(c, c.pool.process.written)) for c in checkouts]
    return {
        "id": [text(c.id) for c in checkouts],
        "request": [run.index_of[key_of(c)] for c in checkouts],
        "pool": [pools[c.pool.id] for c in checkouts],
        "lane": [lanes.get(c.id, NONE) for c in checkouts],
        "asked_d": differences(asked),
        "wait": [end - start for start, end in zip(asked, answered, strict=True)],
        "use": [
            NONE if c.granted is None else run.us(_end(c)) - at
            for c, at in zip(checkouts, answered, strict=True)
        ],
        "outcome": [text(c.outcome.value) for c in checkouts],
        "site": [site(c.site) for c in checkouts],
    }


def _spans(run: PageRun, interned: Interned) -> dict[str, list[int]]:
    of: list[int] = []
    state: list[int] = []
    start: list[int] = []
    length: list[int] = []
    what: list[int] = []
    numbers = {one: number for number, one in enumerate(STATES)}
    for index, checkout in enumerate(run.checkouts):
        zero = run.us(checkout.asked)
        for part in run.spans[checkout.id]:
            # By rounded instants, not durations: so parts meet.
            begin, end = run.us(part.started) - zero, run.us(part.ended) - zero
            if end > begin:
                of.append(index)
                state.append(numbers[part.state])
                start.append(begin)
                length.append(end - begin)
                what.append(interned.what(part))
    columns = {"state": state, "start": start, "length": length, "what": what}
    return {"checkout_d": differences(of), **columns}


def _bins(bins: RunBins, interned: Interned) -> dict[str, Any]:
    return {
        "count": bins.count,
        **{state.value: _rounded(row) for state, row in bins.lent.items()},
        "waiting": _rounded(bins.waiting),
        "most_waiting": bins.most_waiting,
        "blame": [
            {"name": interned.text(name), "waiting": _rounded(row)} for name, row in bins.blamed
        ],
    }


def _tree(tree: TreeColumns, interned: Interned) -> dict[str, Any]:
    return {
        "parent": tree.parents,
        "name": [interned.text(name) for name in tree.names],
        "site": [interned.site(site) for site in tree.sites],
        **{state.value: us for state, us in tree.spent.items()},
        "checkouts": tree.checkouts,
    }


def differences(values: Iterable[int]) -> list[int]:
    """Return the first value, and then the difference of each value from the one before."""
    return [after - before for before, after in pairwise((0, *values))]


def _rounded(row: Iterable[float]) -> list[float]:
    return [round(number, _DIGITS) for number in row]


def _end(checkout: Checkout) -> float:
    return end_of(checkout, checkout.pool.process.written)


MOST_BARS = 300
"""Bars in one row of the picture of a request: more could not be told apart."""

_LEAST_BARS = 20


def requests_data(run: PageRun, interned: Interned, lines: int) -> list[dict[str, Any]]:
    """Return the requests that are told step by step; instants are microseconds since they started.

    Each log has its first ``lines`` lines, and the number of the others.
    """
    return [_request(run, owned, interned, lines) for owned in run.told]


def _request(run: PageRun, owned: Owner, interned: Interned, most: int) -> dict[str, Any]:
    checkouts, until = owned.checkouts, owned.until
    shown = [run.shown[checkout.id] for checkout in checkouts]
    lines, more_lines, more = beginning_of_log(owned.request, shown, most=most)
    spent = total(one.spent for one in shown)
    life = None
    if owned.request is not None:
        holding = _holding(checkouts, run, until)
        life = lifecycle_of(owned.request, shown, until, holding=holding)
    return {
        "request": run.index_of[owned.key],
        "ended_us": _us(owned.ended - owned.started),
        "responding_us": NONE if life is None or life.responding is None else _us(life.responding),
        "verdict": interned.text("" if life is None else verdict(life)),
        "stages": _life_spans(life.stages if life else (), interned),
        "sessions": _lengths(life.sessions if life else ()),
        "holding": [_bar(part) for part in life.holding] if life else [],
        "transactions": _lengths(life.transactions if life else ()),
        "spent": [_us(spent.wait), *(_us(getattr(spent, state.value)) for state in LENT)],
        "checkouts": owned.total,
        "log": [_line(line, interned) for line in lines],
        "lines_left_out": more_lines,
        "operations_left_out": more,
    }


def _line(line: LogEvent, interned: Interned) -> list[int]:
    """Return instant, text, whether it is the response, state, duration, and site."""
    state = NONE if line.state is None else STATES.index(line.state)
    lasted = NONE if line.duration is None else _us(line.duration)
    told = [_us(line.at), interned.text(event_text(line)), int(line.is_response)]
    return [*told, state, lasted, interned.site(line.site)]


def _life_spans(spans: Sequence[LifeSpan], interned: Interned) -> list[list[int]]:
    return [[interned.text(LIFE_WORDS[s.part]), _us(s.started), _us(s.duration)] for s in spans]


def _lengths(spans: Sequence[LifeSpan]) -> list[list[int]]:
    return [[_us(span.started), _us(span.duration)] for span in _seen_apart(spans)]


def _seen_apart(spans: Sequence[LifeSpan]) -> Sequence[LifeSpan]:
    """Return the spans in order; of too many, join those that no eye could tell apart."""
    if len(spans) <= MOST_BARS:
        return spans
    between = (spans[-1].ended - spans[0].started) / MOST_BARS
    found: list[LifeSpan] = []
    for span in spans:
        if found and span.started - found[-1].ended < between:
            ended = max(found[-1].ended, span.ended)
            found[-1] = LifeSpan(span.part, found[-1].started, ended)
        else:
            found.append(span)
    return found


def _holding(checkouts: Sequence[Checkout], run: PageRun, until: float) -> Iterator[Span]:
    """Yield the states of the checkouts, as many as a picture has room for."""
    most = max(MOST_BARS // len(checkouts), _LEAST_BARS)
    for checkout in checkouts:
        parts = states_of(run.spans[checkout.id])
        for part in downsampled(parts, checkout.asked, end_of(checkout, until), most):
            yield of_state(part.state, part.started, part.ended)


def _bar(part: Span) -> list[int]:
    """Return state, start and length."""
    return [STATES.index(part.state), _us(part.started), _us(part.duration)]


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
