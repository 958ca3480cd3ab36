"""The log of a request's connections: its events in words, for the terminal, and as JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from poolhog.analysis.accounting import GAPS, State
from poolhog.analysis.request_log import EventKind
from poolhog.model import OperationKind
from poolhog.render.lifecycle import LIFE_WORDS, verdict
from poolhog.render.palette import PAINTS, TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.render.svg import folded
from poolhog.render.words import count, exact, milliseconds, path_and_line, seconds, site_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.request_log import LogEvent, RequestLog
    from poolhog.model import Checkout, Operation, Request, Site
    from poolhog.render.output import Hint

NARROWEST_COLUMN = 38
"""Logs stand side by side as long as each has at least this number of columns."""

_BETWEEN = 3
_TELLING_S = 0.0005
"""Operations at least as long as this have their duration beside them."""

_CALLERS = 2
"""How many of the application's frames are shown above the one that a gap was in."""


def event_text(event: LogEvent) -> str:
    """An event in the words of a log, such as ``Connection checked out from pool``."""
    if event.state is not None:
        return event.state.value
    if event.operation is not None and event.checkout is not None:
        failed = f" (failed: {event.operation.error})" if event.operation.error else ""
        if event.kind is EventKind.OPENED:
            return f"Connection opened{failed}"
        return f"{_operation_text(event.operation, event.checkout)}{failed}"
    if event.kind is EventKind.GAVE_UP and event.checkout is not None:
        return f"No connection from pool: {event.checkout.outcome}"
    if event.request is not None:
        return response_text(event.request)
    return _EVENTS[event.kind]


_EVENTS = {
    EventKind.GRANTED: "Connection checked out from pool",
    EventKind.RETURNING: "Connection being returned to pool",
    EventKind.DETACHED: "Connection detached from pool",
}


def _operation_text(operation: Operation, checkout: Checkout) -> str:
    statement = " ".join((operation.statement or "").split())
    match operation.kind:
        case OperationKind.PING:
            return "Connection pinged"
        case OperationKind.BEGIN:
            return statement or "BEGIN (implicit)"
        case OperationKind.RESET:
            is_asyncpg = checkout.pool.library == "asyncpg"
            what = "Connection reset on return" if is_asyncpg else "Connection rollback-on-return"
            return what if operation.statement else f"{what} (already reset, nothing to do)"
        case OperationKind.STATEMENT | OperationKind.FETCH:
            return statement or operation.kind.name
    return operation.kind.name


def response_text(request: Request) -> str:
    """The response as servers log it, such as ``"GET /notes/1 HTTP/1.1" 200 OK``."""
    return f'"{request.method} {request.path} HTTP/1.1" {status_text(request)}'.rstrip()


def status_text(request: Request) -> str:
    """The status, such as ``200 OK``; "" if there was no response."""
    if request.status is None:
        return ""
    known = {status.value: status.phrase for status in HTTPStatus}
    return f"{request.status} {known.get(request.status, '')}".rstrip()


def log_text(lines: Sequence[LogEvent], *, width: int) -> Table:
    """The lines with their milliseconds since the request started; long ones are folded.

    An arrow marks the response: what stands below it happened when the client had its answer.
    """
    table = Table.grid(padding=(0, 1))
    table.width = width
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=1)
    table.add_column(ratio=1, overflow="fold")
    for line in lines:
        style = f"bold {TERMINAL_ACCENT}" if line.is_response else ""
        table.add_row(
            Text(milliseconds(line.at), TERMINAL_MUTED),
            Text("→" if line.is_response else "", style),
            Text(event_text(line), style),
        )
    return table


def logs_side_by_side(logs: Sequence[tuple[str, Sequence[LogEvent]]], *, width: int) -> Table:
    """Logs under their titles, in columns as far as these stay wide enough to read."""
    across = max(1, min(len(logs), (width + _BETWEEN) // (NARROWEST_COLUMN + _BETWEEN)))
    column = (width - _BETWEEN * (across - 1)) // across
    table = Table.grid(padding=(0, _BETWEEN, 0, 0))
    for _ in range(across):
        table.add_column(width=column, vertical="top")
    for first in range(0, len(logs), across):
        row = logs[first : first + across]
        if first:
            table.add_row()
        table.add_row(*(Text(title, "bold") for title, _ in row))
        table.add_row(*(log_text(lines, width=column) for _, lines in row))
    return table


def request_log_text(
    log: RequestLog, *, width: int, most_lines: int, hints: Sequence[Hint] = ()
) -> Group:
    """The request for the terminal; of more than ``most_lines`` lines the first and the last."""
    parts: list[RenderableType] = [*_title(log), Text(), _lines(log.lines, most_lines)]
    if log.total > len(log.checkouts):
        left_out = count(log.total - len(log.checkouts), "later checkout")
        parts.append(Text(f"… {left_out} of {log.total:,} not read", TERMINAL_MUTED))
    if log.life is not None and log.life.stages:
        parts += [Text(), _stages(log)]
    parts.append(Text())
    parts += [hint.text(width) for hint in hints]
    return Group(*parts)


def request_log_json(log: RequestLog) -> dict[str, Any]:
    """The log as documented in ``docs/log.md``; instants are seconds since ``started_s``."""
    request, life = log.request, log.life
    return {
        "id": log.id,
        "name": log.name,
        "pid": log.process.pid,
        "request": None
        if request is None
        else {
            "kind": request.kind,
            "method": request.method,
            "route": request.route,
            "path": request.path,
            "status": request.status,
            "error": request.error,
            "responding_s": _since(log, request.responding),
            "responded_s": _since(log, request.responded),
            "ended_s": _since(log, request.ended),
        },
        "started_s": exact(log.started),
        "duration_s": exact(log.ended - log.started),
        "open": log.is_open,
        "checkouts_total": log.total,
        **_account_json(log.spent),
        "checkouts": [
            _checkout_json(log, checkout, account)
            for checkout, account in zip(log.checkouts, log.accounts, strict=True)
        ],
        "log": [_line_json(line) for line in log.lines],
        "stages": [
            {
                "name": LIFE_WORDS[stage.part],
                "started_s": exact(stage.started),
                "ended_s": exact(stage.ended),
            }
            for stage in (life.stages if life is not None else ())
        ],
    }


def _title(log: RequestLog) -> Iterator[Text]:
    request = log.request
    if request is None:
        yield Text(f"{log.name}: an owner without a request", style="bold")
    else:
        ended = "went on for" if request.ended is None else "took"
        answer = status_text(request)
        yield Text.assemble(
            (f"{request.method} {request.path}".strip(), "bold"),
            (f" · {answer}" if answer else "", "bold"),
            (f" · {ended} {seconds(log.ended - log.started)}", "bold"),
            (f" · ended by {request.error}" if request.error else "", "bold red"),
        )
    yield _spent(log)
    if log.life is not None and log.life.checkouts:
        yield Text(f"{verdict(log.life)}.")
    if log.is_open:
        yield Text("It was not over when the trace was last written.")
    known = f"request {log.id}" if request is not None else f"owner {log.id}"
    route = f" · {log.name}" if request is not None else ""
    yield Text(f"{known}{route} · process {log.process.pid}", TERMINAL_MUTED)


def _spent(log: RequestLog) -> Text:
    spent = log.spent
    if not log.checkouts:
        return Text("It asked for no connection.")
    several = f" in {count(log.total, 'checkout')}" if log.total > 1 else ""
    parts = [Text.assemble("waited ", (seconds(spent.wait), PAINTS[State.WAITING].terminal))]
    opened = {"connecting": spent.connecting, "pinging": spent.pinging}
    told = [f"{what} {seconds(part)}" for what, part in opened.items() if part > _TELLING_S]
    if told:
        parts.append(Text(f" ({', '.join(told)})"))
    parts.append(Text(f", held a connection {seconds(spent.use)}{several}"))
    uses = {State.BUSY: spent.busy, State.BLOCKED: spent.blocked, **_gap_seconds(spent)}
    held = [(state, part) for state, part in uses.items() if round(part, 9)]
    for number, (state, part) in enumerate(held):
        parts.append(Text(", " if number else ": "))
        parts.append(Text(f"{state} {seconds(part)}", PAINTS[state].terminal))
    return Text.assemble(*parts)


def _gap_seconds(account: Account) -> dict[State, float]:
    return dict(zip(GAPS, (account.parked, account.running, account.ready), strict=True))


def _lines(lines: Sequence[LogEvent], most: int) -> Table:
    """A row for each line, and under it its line of code, unless the row above has the same one."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=1)
    table.add_column(overflow="fold")
    head, left_out, tail = folded(lines, most) if most else (lines, 0, ())
    last: Site | None = None
    for number, line in enumerate((*head, *tail)):
        if left_out and number == len(head):
            table.add_row("", "", Text(f"… {count(left_out, 'line')} not shown …", TERMINAL_MUTED))
        style = f"bold {TERMINAL_ACCENT}" if line.is_response else ""
        arrow = "→" if line.is_response else ""
        if line.state is not None:
            what = _state(line, line.state)
            last = line.site if line.state is State.WAITING else last
        else:
            what = _operation(line, style)
            if line.site is not None and line.site is not last:
                what.append(f"\n{_place(line.site)}", TERMINAL_MUTED)
                last = line.site
        table.add_row(Text(milliseconds(line.at), TERMINAL_MUTED), Text(arrow, style), what)
    return table


def _operation(line: LogEvent, style: str) -> Text:
    lasted = line.duration if line.duration is not None else 0.0
    beside = f"  {seconds(lasted)}" if lasted >= _TELLING_S else ""
    return Text.assemble((event_text(line), style), (beside, TERMINAL_MUTED))


def _state(line: LogEvent, state: State) -> Text:
    """A wait or a part of a gap, such as ``parked 5.00 s at service.py:48  await sync(note)``."""
    paint = PAINTS[state]
    told = f"{paint.glyph} {state} {seconds(line.duration or 0.0)}"
    if line.site is None:
        return Text(told, f"bold {paint.terminal}")
    where = "while this ran:" if state is State.READY else "at"
    row = Text.assemble((f"{told} {where} ", f"bold {paint.terminal}"), _place(line.site))
    if state is not State.WAITING:
        for caller in [site for site in line.site.stack[1:] if site.is_application][:_CALLERS]:
            row.append(f"\n  called at {_place(caller)}", TERMINAL_MUTED)
    return row


def _place(site: Site) -> str:
    return f"{path_and_line(site)}  {site.source}".rstrip()


def _stages(log: RequestLog) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=1)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    assert log.life is not None  # noqa: S101 - the caller looked
    for stage in log.life.stages:
        at = Text(milliseconds(stage.started), TERMINAL_MUTED)
        table.add_row(at, "", f"{LIFE_WORDS[stage.part]} ", seconds(stage.duration))
    return table


def _account_json(account: Account) -> dict[str, float]:
    return {
        "wait_s": exact(account.wait),
        "queueing_s": exact(account.queueing),
        "connecting_s": exact(account.connecting),
        "pinging_s": exact(account.pinging),
        "use_s": exact(account.use),
        "busy_s": exact(account.busy),
        "blocked_s": exact(account.blocked),
        "parked_s": exact(account.parked),
        "running_s": exact(account.running),
        "ready_s": exact(account.ready),
    }


def _checkout_json(log: RequestLog, checkout: Checkout, account: Account) -> dict[str, Any]:
    return {
        "id": checkout.id,
        "pool": checkout.pool.name,
        "connection": checkout.connection,
        "owner": checkout.owner,
        "outcome": checkout.outcome,
        "site": site_json(checkout.site),
        "asked_s": _since(log, checkout.asked),
        "granted_s": _since(log, checkout.granted),
        "gave_up_s": _since(log, checkout.gave_up),
        "returned_s": _since(log, checkout.returned),
        **_account_json(account),
    }


def _line_json(line: LogEvent) -> dict[str, Any]:
    return {
        "at_s": exact(line.at),
        "what": event_text(line),
        "is_response": line.is_response,
        "state": line.state,
        "duration_s": None if line.duration is None else exact(line.duration),
        "site": site_json(line.site),
    }


def _since(log: RequestLog, at: float | None) -> float | None:
    return None if at is None else exact(at - log.started)
