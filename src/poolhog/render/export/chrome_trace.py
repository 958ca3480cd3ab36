"""A trace in the Trace Event Format, which Perfetto and ``chrome://tracing`` open.

Every recorded process is a process, every connection of a pool a thread of it: on that lie the uses
of the connection as complete events, and in them operations and gaps, which nest. Requests and
waits overlap, so they are asynchronous events. An arrow leads from each wait to the use that it
ended with, and counters tell how many connections of a pool are lent, and how many wait for one.

Instants are whole microseconds since the run began, so that what nests was not rounded apart.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Any

from poolhog.analysis.accounting import end_of, end_of_wait
from poolhog.analysis.lanes import Uses
from poolhog.analysis.owners import route_of
from poolhog.model import OperationKind
from poolhog.render.export.format import (
    Format,
    LongTexts,
    command,
    drop_at,
    frame_name,
    iso_time,
    metadata,
    operation_name,
    pool_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from poolhog.analysis.lanes import Use
    from poolhog.analysis.selection import Extract, Part
    from poolhog.analysis.shown import Shown, Span
    from poolhog.model import Checkout, Request, Site

    Event = dict[str, Any]

    TraceSpan = tuple[str, int, int, Event]
    """A name, from when to when in whole microseconds, and what else is said of it."""

_LARGEST_PID = 1 << 22
"""The largest process id of Linux: a process whose id was used before gets a number above it."""

_POOLS_APART = 1_000_000
"""Connections of one pool are sorted together, as long as it has no more."""

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def chrome_trace(extract: Extract, texts: LongTexts) -> Iterator[str]:
    """The file, an event in each line, and the long texts of their arguments in full once."""
    opening = '{"traceEvents":[\n'
    for event in _events(extract, texts):
        yield opening + _ENCODER.encode(event)
        opening = ",\n"
    rest = {"displayTimeUnit": "ms", "metadata": metadata(extract)}
    yield "\n]," + json.dumps(rest).removeprefix("{") + "\n"


def _events(extract: Extract, texts: LongTexts) -> Iterator[Event]:
    taken: set[int] = set()
    for number, part in enumerate(extract.parts):
        pid = part.process.pid if part.process.pid not in taken else _LARGEST_PID + number
        taken.add(pid)
        yield from _Writer(part, pid, extract.began_wall, texts).events(number)


class _Writer:
    """Writes the events of one process."""

    def __init__(self, part: Part, pid: int, began_wall: float, texts: LongTexts) -> None:
        self._texts = texts
        self._part = part
        self._pid = pid
        self._began_wall = began_wall
        self._pool_names = pool_names(part.pools)
        self._counters = {pool.id: PoolCounter() for pool in part.pools}
        self._ranks = {pool.id: rank for rank, pool in enumerate(part.pools)}
        self._threads: dict[tuple[str, int | None], int] = {}

    def events(self, rank: int) -> Iterator[Event]:
        process = self._part.process
        yield self._meta("process_name", self._pid, name=command(process))
        yield self._meta("process_sort_index", self._pid, sort_index=rank)
        for request in self._part.requests():
            yield from self._request(request)
        uses = Uses()
        for shown in self._part.shown():
            checkout = shown.checkout
            yield from self._wait(checkout)
            counter = self._counters[checkout.pool.id]
            yield from self._counted(checkout.pool.id, counter.push(checkout))
            for use in uses.push(shown):
                yield from self._use(use)
        for use in uses.rest():
            yield from self._use(use)
        for key, counter in self._counters.items():
            yield from self._counted(key, counter.rest())

    def _meta(self, what: str, tid: int, **args: object) -> Event:
        return {"ph": "M", "name": what, "pid": self._pid, "tid": tid, "ts": 0, "args": args}

    def _request(self, request: Request) -> Iterator[Event]:
        """The request, and in it its stages; those that do not nest have tracks of their own."""
        until = max(self._part.process.written, request.started)
        ended = request.ended if request.ended is not None else until
        args = {
            "id": request.id,
            "path": request.path,
            "status": request.status,
            "error": request.error,
            "started": iso_time(self._began_wall + request.started),
            "responding_s": request.responding,
            "responded_s": request.responded,
            "open": request.ended is None,
        }
        spans = [_span(request.name, request.started, ended, _given(args))]
        spans += [
            _span(stage.name, stage.started, stage.ended if stage.ended is not None else ended)
            for stage in request.stages
        ]
        for track, nested in enumerate(nesting(spans)):
            key = request.id if not track else f"{request.id}/{track}"
            yield from self._async("request", key, nested)

    def _wait(self, checkout: Checkout) -> Iterator[Event]:
        """The wait for a connection, and in it the opening of one and pings."""
        until = self._part.process.written
        ended = end_of_wait(checkout, until)
        args = {
            "checkout": checkout.id,
            "pool": checkout.pool.name,
            "outcome": checkout.outcome,
            "for": route_of(checkout),
            **_place(checkout.site),
        }
        spans = [_span("wait for a connection", checkout.asked, ended, _given(args))]
        spans += [
            _span(o.kind, o.started, min(ended if o.ended is None else o.ended, ended))
            for o in checkout.operations
            if o.kind in (OperationKind.CONNECT, OperationKind.PING) and o.started < ended
        ]
        events = list(
            chain.from_iterable(
                self._async("wait", f"{checkout.id}/{track}", nested)
                for track, nested in enumerate(nesting(spans))
            )
        )
        if checkout.granted is not None:
            events[0] |= {"bind_id": _bind_id(checkout), "flow_out": True}
        return iter(events)

    def _async(self, category: str, key: str, spans: Iterable[TraceSpan]) -> Iterator[Event]:
        """Begins and ends of spans that nest, in order."""
        common = {"cat": category, "id": key, "pid": self._pid, "tid": self._pid}
        opened: list[TraceSpan] = []
        for span in spans:
            while opened and opened[-1][2] <= span[1]:
                yield _end(common, opened.pop())
            name, started, _, args = span
            yield {"ph": "b", "name": name, "ts": started, **common, "args": args}
            opened.append(span)
        while opened:
            yield _end(common, opened.pop())

    def _use(self, use: Use) -> Iterator[Event]:
        """The use on its connection's thread, and in it what was done with it."""
        # Brings NumPy along, which `--help` does not need.
        from poolhog.analysis.shown import at_places

        checkout = use.shown.checkout
        key = checkout.pool.id, checkout.connection
        tid = self._threads.get(key)
        if tid is None:
            tid = self._threads[key] = self._pid + len(self._threads) + 1
            yield from self._thread(tid, checkout.pool.id, checkout.connection or 0)
        common = {"ph": "X", "pid": self._pid, "tid": tid}
        yield {
            **common,
            **_lasting("checkout", use.started, use.ended),
            "name": route_of(checkout),
            "bind_id": _bind_id(checkout),
            "flow_in": True,
            "args": _given(_spent(use.shown)),
        }
        for span in at_places(use.shown):
            if span.started < use.ended:
                yield {**common, **self._doing(span, min(span.ended, use.ended))}

    def _doing(self, span: Span, ended: float) -> Event:
        event = _doing(span, ended)
        event["args"] = {key: self._texts.written(text) for key, text in event["args"].items()}
        return event

    def _thread(self, tid: int, pool: str, connection: int) -> Iterator[Event]:
        name = f"{self._pool_names[pool]}, connection {connection}"
        yield self._meta("thread_name", tid, name=name)
        rank = self._ranks[pool] * _POOLS_APART + connection
        yield self._meta("thread_sort_index", tid, sort_index=rank)

    def _counted(self, pool: str, steps: Iterable[tuple[int, int, int]]) -> Iterator[Event]:
        common = {"ph": "C", "name": self._pool_names[pool], "pid": self._pid, "tid": self._pid}
        for at, lent, waiting in steps:
            yield {**common, "ts": at, "args": {"lent": lent, "waiting": waiting}}


def _span(name: str, started: float, ended: float, args: Event | None = None) -> TraceSpan:
    return name, microseconds(started), microseconds(max(ended, started)), args or {}


def _end(common: Event, span: TraceSpan) -> Event:
    name, _, ended, _ = span
    return {"ph": "e", "name": name, "ts": ended, **common}


def _lasting(category: str, started: float, ended: float) -> Event:
    first = microseconds(started)
    return {"cat": category, "ts": first, "dur": microseconds(ended) - first}


def _doing(span: Span, ended: float) -> Event:
    if span.is_of_gap:
        lasting = _lasting("gap", span.started, ended)
        return {**lasting, "name": span.state, "args": _place(span.site)}
    args = {
        "statement": span.statement,
        "error": span.error,
        "cause": span.cause,
        "at": _at(span.site),
    }
    lasting = _lasting("operation", span.started, ended)
    return {**lasting, "name": operation_name(span), "args": _given(args)}


def _spent(shown: Shown) -> Event:
    checkout, _, spent = shown
    return {
        "checkout": checkout.id,
        "request": checkout.request.id if checkout.request is not None else None,
        "owner": checkout.owner,
        "outcome": checkout.outcome,
        "wait_s": round(spent.wait, 9),
        "use_s": round(spent.use, 9),
        **{
            f"{part}_s": round(seconds, 9)
            for part, seconds in zip(spent._fields, spent, strict=True)
            if seconds
        },
        **_place(checkout.site),
    }


def _given(args: Event) -> Event:
    return {key: value for key, value in args.items() if value is not None}


def _place(site: Site | None) -> Event:
    return {"at": _at(site), "source": site.source} if site is not None else {}


def _at(site: Site | None) -> str | None:
    return frame_name(site) if site is not None else None


def _bind_id(checkout: Checkout) -> str:
    """The id at both ends of an arrow: a number of 64 bits, which no other checkout has."""
    return f"0x{blake2b(checkout.id.encode(), digest_size=8).hexdigest()}"


def microseconds(instant: float) -> int:
    """An instant of the run's clock in whole microseconds."""
    return round(instant * 1e6)


def nesting(spans: Iterable[TraceSpan]) -> list[list[TraceSpan]]:
    """The spans on as few tracks as it takes for them to nest, each in order of its starts."""
    tracks: list[tuple[list[TraceSpan], list[int]]] = []
    for span in sorted(spans, key=lambda span: (span[1], -span[2])):
        _, started, ended, _ = span
        for nested, open_until in tracks:
            while open_until and open_until[-1] <= started:
                open_until.pop()
            if not open_until or ended <= open_until[-1]:
                nested.append(span)
                open_until.append(ended)
                break
        else:
            tracks.append(([span], [ended]))
    return [track for track, _ in tracks]


class PoolCounter:
    """How many connections of a pool are lent, and how many checkouts wait, at each change."""

    def __init__(self) -> None:
        self._changes: list[tuple[int, int, int]] = []
        self._lent = self._waiting = 0

    def push(self, checkout: Checkout) -> Iterator[tuple[int, int, int]]:
        """The next checkout in the order of asking; the steps up to then."""
        until = checkout.pool.process.written
        asked, waited = microseconds(checkout.asked), microseconds(end_of_wait(checkout, until))
        is_over = checkout.granted is not None or checkout.gave_up is not None
        if waited > asked:
            heappush(self._changes, (asked, 0, 1))
            if is_over:
                heappush(self._changes, (waited, 0, -1))
        if checkout.granted is not None:
            heappush(self._changes, (waited, 1, 0))
            if checkout.returned is not None:
                heappush(self._changes, (microseconds(end_of(checkout, until)), -1, 0))
        yield from self._steps(asked)

    def rest(self) -> Iterator[tuple[int, int, int]]:
        """The steps after the last."""
        yield from self._steps(None)

    def _steps(self, before: int | None) -> Iterator[tuple[int, int, int]]:
        while self._changes and (before is None or self._changes[0][0] < before):
            at = self._changes[0][0]
            known = self._lent, self._waiting
            while self._changes and self._changes[0][0] == at:
                _, lent, waiting = heappop(self._changes)
                self._lent += lent
                self._waiting += waiting
            if known != (self._lent, self._waiting):
                yield at, self._lent, self._waiting


def _write(extract: Extract, out: BinaryIO) -> int:
    long_texts = LongTexts()
    for text in chrome_trace(extract, long_texts):
        out.write(text.encode())
    return long_texts.shortened


CHROME_TRACE = Format(
    name="chrome-trace",
    purpose="for Perfetto and chrome://tracing",
    suffix=".trace.json",
    write=_write,
    hint=drop_at("https://ui.perfetto.dev"),
    is_for_browsers=True,
)
