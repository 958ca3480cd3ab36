from __future__ import annotations

import pytest
from factories import make_checkout, one_get, op
from rich.console import Console, RenderableType

from poolhog.analysis.accounting import State
from poolhog.analysis.request_log import EventKind, LogEvent, log_of
from poolhog.model import OperationKind
from poolhog.render.request_log import event_text, log_text, logs_side_by_side


def shown(renderable: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def get(*, explicit: bool = False) -> tuple[LogEvent, ...]:
    request, checkout = one_get(explicit=explicit)
    return log_of(request, [checkout])


def test_a_log_with_its_milliseconds() -> None:
    assert shown(log_text(get(), width=80), 80) == [
        "1.01 ms   Connection checked out from pool",
        "1.02 ms   BEGIN (implicit)",
        "1.31 ms   SELECT notes.id, notes.data FROM notes WHERE notes.id = $1",
        '4.45 ms → "GET /notes/1 HTTP/1.1" 200 OK',
        "4.85 ms   ROLLBACK",
        "5.36 ms   Connection being returned to pool",
        "5.36 ms   Connection rollback-on-return (already reset, nothing to do)",
    ]


def statement(at: float, sql: str) -> LogEvent:
    """The event of a statement, at an instant of the log."""
    operation = op(OperationKind.STATEMENT, at, at + 1.0, sql)
    return LogEvent(at, EventKind.OPERATION, make_checkout(operations=[operation]), operation)


def test_instants_are_aligned() -> None:
    lines = [statement(0.001, "first"), statement(5.0123, "last")]
    assert shown(log_text(lines, width=40), 40) == ["    1.00 ms   first", "5,012.30 ms   last"]


def test_a_long_statement_is_folded_under_itself() -> None:
    rows = shown(log_text([statement(0.001, "SELECT " + "x" * 50)], width=40), 40)
    assert len(rows) > 1
    assert all(row.startswith(" " * 10) for row in rows[1:])
    assert "".join(row[10:].strip() for row in rows).count("x") == 50


def test_only_the_response_is_emphasised() -> None:
    console = Console(width=80, force_terminal=True, color_system="truecolor")
    bold = [s.text for s in console.render(log_text(get(), width=80)) if s.style and s.style.bold]
    assert '"GET /notes/1 HTTP/1.1" 200 OK' in "".join(bold)
    assert "ROLLBACK" not in "".join(bold)


@pytest.mark.parametrize(("width", "columns"), [(60, 1), (80, 2), (140, 3)])
def test_logs_stand_side_by_side_as_far_as_they_are_readable(width: int, columns: int) -> None:
    logs = [("implicit", get()), ("explicit", get(explicit=True)), ("again", get())]
    rows = shown(logs_side_by_side(logs, width=width), width)
    assert all(len(row) <= width for row in rows)
    assert rows[0].split() == ["implicit", "explicit", "again"][:columns]
    words = " ".join(rows).split()
    assert words.count("→") == 3


def test_markup_in_a_statement_is_not_interpreted() -> None:
    assert "[bold]x[/bold]" in shown(log_text([statement(0, "[bold]x[/bold]")], width=80), 80)[0]


def test_every_kind_of_event_has_words() -> None:
    request, checkout = one_get()
    select = checkout.operations[1]
    for kind in EventKind:
        of_request = kind is EventKind.RESPONSE
        event = LogEvent(
            0.0,
            kind,
            None if of_request else checkout,
            select if kind in (EventKind.OPERATION, EventKind.OPENED) else None,
            request if of_request else None,
            state=State.PARKED if kind is EventKind.SPENT else None,
        )
        assert event_text(event)
