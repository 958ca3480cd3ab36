"""When statements waited for locks, inferred from the trace alone or told by the server."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from factories import PROCESS, make_checkout, make_pool, make_site, op, sample, trace_of

from poolhog.analysis.blocks import UNRECORDED, blocks_of
from poolhog.analysis.findings import BLOCKS_OTHERS
from poolhog.analysis.findings.blocks_others import BlockedOthers
from poolhog.analysis.measured import measured, sums_of
from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.replay.chains import workload_of
from poolhog.analysis.replay.simulation import simulate
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.analysis.report import report_of
from poolhog.analysis.shown import shown_of
from poolhog.model import Activity, LockWait, OperationKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.ledger import Ledger
    from poolhog.model import Checkout, Pool, Site

Kind = OperationKind
UPDATE = "UPDATE counters SET n = n + ? WHERE id = $1"
HOLD_S = 0.2
COMMIT_S = 0.002
CALL = make_site(24, "await call_api()")
POOL = make_pool(size=20)


def holder(
    id_: str,
    began: float,
    locked: float,
    *,
    statement: str = UPDATE,
    hold: float = HOLD_S,
    pool: Pool = POOL,
    site: Site = CALL,
) -> Checkout:
    """A checkout whose statement lasts from ``began`` to ``locked``, and which then awaits."""
    ended = locked + hold
    return make_checkout(
        id_,
        began,
        began,
        ended + COMMIT_S,
        pool=pool,
        owner=id_,
        operations=[
            op(Kind.BEGIN, began, began),
            op(Kind.STATEMENT, began, locked, statement),
            op(Kind.COMMIT, ended, ended + COMMIT_S),
        ],
        samples=[sample(Activity.PARKED, locked + 0.01, ended - 0.01, site)],
        site=make_site(10, "begin()"),
    )


def in_a_row(number: int, *, statement: str = UPDATE, late: float = 0.0005) -> list[Checkout]:
    """Checkouts that all ask at once for one lock, and get it one after the other."""
    found, free = [], 1.0
    for place in range(number):
        locked = free + (late if place else 0.001)
        found.append(holder(f"c{place}", 1.0 + place / 1e5, locked, statement=statement))
        free = locked + HOLD_S + COMMIT_S
    return found


def ledger_of(checkouts: Sequence[Checkout]) -> Ledger:
    (ledger,) = ledgers_of(trace_of(checkouts))
    return ledger


@pytest.mark.parametrize(
    "statement",
    [
        UPDATE,
        "SELECT n FROM counters WHERE id = $1 FOR UPDATE",
        "DELETE FROM counters WHERE id = $1",
        "SELECT pg_advisory_xact_lock($1)",
    ],
)
def test_statements_that_end_with_transactions_again_and_again_were_blocked(
    statement: str,
) -> None:
    ledger = ledger_of(in_a_row(6, statement=statement))
    blocks = blocks_of(ledger)
    assert not blocks.is_known.any()
    # The one in front holds it while all others wait: the first 5 wait, then 4, and so on.
    waited = sum(place * (HOLD_S + COMMIT_S) for place in range(6))
    assert blocks.duration.sum() / 1e6 == pytest.approx(waited, rel=0.02)
    for row, blocker in zip(blocks.row.tolist(), blocks.blocker.tolist(), strict=True):
        assert blocker < row
    spent = sums_of(measured(ledger), np.arange(len(ledger))).spent
    assert spent.blocked == pytest.approx(blocks.duration.sum() / 1e6)
    assert spent.use == pytest.approx(spent.busy + spent.blocked + spent.gap, abs=1e-9)


def test_each_is_blocked_by_the_one_in_front() -> None:
    ledger = ledger_of(in_a_row(5))
    blocks = blocks_of(ledger)
    last = blocks.where(np.flatnonzero(blocks.row == 4))
    assert last.blocker.tolist() == [0, 1, 2, 3]
    assert (last.started[1:] == last.ended[:-1]).all()
    assert last.duration.tolist() == pytest.approx([202_000] * 4, rel=0.02)


def test_who_asked_later_but_got_the_lock_earlier_blocks_only_while_it_has_it() -> None:
    # The third asks while the first holds the lock, and gets it before the second.
    first = holder("first", 1.0, 1.001)
    at = 1.001 + HOLD_S + COMMIT_S
    late = holder("late", at - 0.06, at + 0.0005)
    at += 0.0005 + HOLD_S + COMMIT_S
    last = holder("last", 1.01, at + 0.0005)
    evidence = [_later(one, 5.0, "x") for one in in_a_row(6)]
    ledger = ledger_of([first, last, late, *evidence])
    blocks = blocks_of(ledger)
    ids = [one.id for one in ledger.checkouts(np.arange(len(ledger)))]
    own = blocks.where(np.flatnonzero(blocks.row == ids.index("last")))
    assert [ids[row] for row in own.blocker.tolist()] == ["first", "late"]
    assert own.duration.tolist() == pytest.approx([193_000, 202_500], rel=0.02)


def _later(checkout: Checkout, seconds: float, suffix: str) -> Checkout:
    """The same some seconds later, by another owner."""
    locked = (checkout.operations[1].ended or 0.0) + seconds
    return holder(checkout.id + suffix, checkout.asked + seconds, locked)


def test_spans_of_a_blocked_checkout_have_no_holes() -> None:
    for checkout, spans, spent in shown_of(trace_of(in_a_row(5))).values():
        seconds = Counter[str]()
        at = checkout.granted
        for span in spans:
            if span.duration and span.started >= (checkout.granted or 0.0):
                assert span.started == pytest.approx(at, abs=1e-9)
                at = span.ended
                seconds[span.state] += span.duration  # type: ignore[assignment]
        assert seconds["blocked"] == pytest.approx(spent.blocked, abs=1e-6)
        assert at == pytest.approx(checkout.returned)


def test_two_times_are_no_evidence() -> None:
    assert len(blocks_of(ledger_of(in_a_row(3))).row) == 0


def test_a_statement_that_only_takes_a_lock_waits_if_it_lasts() -> None:
    blocks = blocks_of(ledger_of(in_a_row(2, statement="SELECT pg_advisory_xact_lock($1)")))
    assert (blocks.row.tolist(), blocks.blocker.tolist()) == ([1], [0])
    alone = holder("c0", 1.0, 1.5, statement="SELECT pg_advisory_xact_lock($1)")
    assert len(blocks_of(ledger_of([alone])).row) == 0


def test_other_tables_are_no_evidence() -> None:
    some = in_a_row(6)
    others = [
        replace(c, operations=[replace(o, statement=_other(o.statement, n)) for o in c.operations])
        for n, c in enumerate(some)
    ]
    assert len(blocks_of(ledger_of(others)).row) == 0


def _other(statement: str | None, number: int) -> str | None:
    return statement.replace("counters", f"t{number}") if statement else statement


def test_slow_statements_side_by_side_are_not_blocked() -> None:
    """They are alike, so they end at about the same time; each commits at once."""
    slow = [holder(f"c{n}", 1.0 + n / 1000, 1.3 + n / 500, hold=0.0002) for n in range(12)]
    assert len(blocks_of(ledger_of(slow)).row) == 0


def test_a_pause_of_the_event_loop_is_no_lock() -> None:
    """The holder computes; the others' answers are read as soon as its commit was sent."""
    some = []
    for turn in range(8):
        at = 1.0 + turn
        some.append(holder(f"h{turn}", at, at + 0.001))
        read = at + 0.001 + HOLD_S + COMMIT_S / 20
        some.append(holder(f"w{turn}", at + 0.01, read, hold=0.0))
    assert len(blocks_of(ledger_of(some)).row) == 0


def test_chance_is_no_lock() -> None:
    """Many transactions on one table end all the time: some statement ends with one of them."""
    busy = [holder(f"b{n}", 1.0 + n / 100, 1.001 + n / 100, hold=0.03) for n in range(400)]
    slow = [holder(f"s{n}", 1.1 + n / 7, 1.15 + n / 7 + n / 900, hold=0.0) for n in range(20)]
    assert len(blocks_of(ledger_of([*busy, *slow])).row) == 0


def test_a_file_has_one_writer() -> None:
    pool = make_pool(name="sqlite+aiosqlite")
    first = holder("c0", 1.0, 1.001, statement="INSERT INTO t VALUES (?)", pool=pool)
    # SQLite looks again after a while, so this one ends a little later.
    ended = 1.001 + HOLD_S + COMMIT_S + 0.07
    second = holder("c1", 1.05, ended, statement="BEGIN IMMEDIATE", pool=pool)
    reader = holder("c2", 1.05, ended, statement="SELECT x FROM t", pool=pool)
    blocks = blocks_of(ledger_of([first, second, reader]))
    assert blocks.row.tolist() == [1]
    assert blocks.blocker.tolist() == [0]
    assert blocks.duration.sum() / 1e6 == pytest.approx(ended - 1.05)


def test_a_writer_that_waits_while_nobody_writes_is_not_blocked() -> None:
    """Another process may have the file; nothing in this one tells."""
    pool = make_pool(name="sqlite+aiosqlite")
    alone = holder("c0", 1.0, 1.3, statement="BEGIN IMMEDIATE", pool=pool)
    assert len(blocks_of(ledger_of([alone])).row) == 0


def told(waits: Sequence[LockWait]) -> Ledger:
    first = holder("c0", 1.0, 1.001)
    second = replace(holder("c1", 1.05, 1.204), lock_waits=tuple(waits))
    process = replace(PROCESS, lock_watch="on")
    (ledger,) = ledgers_of(trace_of([first, second], process=process))
    return ledger


def test_what_the_server_said_is_known_as_far_as_a_statement_was_in_flight() -> None:
    blocks = blocks_of(told([LockWait(1.06, 1.5, "c0")]))
    assert (blocks.row.tolist(), blocks.blocker.tolist()) == ([1], [0])
    assert blocks.is_known.all()
    assert (blocks.started / 1e6).tolist() == pytest.approx([1.06])
    assert (blocks.ended / 1e6).tolist() == pytest.approx([1.204])


def test_a_session_that_was_not_recorded_blocks_as_well() -> None:
    ledger = told([LockWait(1.06, None, None, "psql, server process 7, idle in transaction")])
    blocks = blocks_of(ledger)
    assert blocks.blocker.tolist() == [UNRECORDED]
    assert ledger.facts.texts[int(blocks.session[0])].startswith("psql")


def test_where_the_server_is_asked_only_what_it_told_of_is_inferred() -> None:
    watched = replace(PROCESS, lock_watch="on")
    (ledger,) = ledgers_of(trace_of(in_a_row(6), process=watched))
    assert len(blocks_of(ledger).row) == 0


def test_the_line_that_holds_the_lock_is_a_finding_and_says_that_it_is_inferred() -> None:
    report = report_of(trace_of(in_a_row(6)))
    found = next(f for f in report.findings if f.kind is BLOCKS_OTHERS)
    assert found.site is CALL
    assert found.checkouts == 5  # the last one blocks nobody
    # All but the commits.
    assert found.seconds == pytest.approx(15 * HOLD_S, rel=0.02)
    assert isinstance(found.evidence, BlockedOthers)
    assert found.evidence.tables == ("counters",)
    assert found.evidence.known == 0.0
    assert found.evidence.seconds == pytest.approx(found.seconds)


def test_a_holder_that_is_busy_is_no_finding() -> None:
    slow = [
        replace(
            c,
            operations=[
                *c.operations[:2],
                op(Kind.STATEMENT, c.operations[1].ended or 0, c.operations[2].started, "SELECT ?"),
                c.operations[2],
            ],
            samples=(),
        )
        for c in in_a_row(6)
    ]
    report = report_of(trace_of(slow))
    assert report.spent.blocked > 0
    assert [f for f in report.findings if f.kind is BLOCKS_OTHERS] == []


def test_who_waits_for_the_pool_behind_a_blocked_checkout_waits_for_the_holder() -> None:
    pool = make_pool(size=6)
    blocked = [replace(c, pool=pool) for c in in_a_row(6)]
    other = make_site(77, "connect()", function="reader")
    waiter = make_checkout("w", 1.01, 1.2, 1.3, pool=pool, owner="w", site=other)
    report = report_of(trace_of([*blocked, waiter], pools=[pool]))
    charged = Counter[tuple[str, int | None]]()
    for charge in report.blame.charges:
        if charge.holding is not None:
            charged[charge.state, charge.site.line if charge.site else None] += charge.microseconds
    assert charged.total() == 190_000
    assert charged["parked", CALL.line] == pytest.approx(190_000, rel=0.02)
    assert not any(state == "blocked" for state, _ in charged)


def test_a_replay_without_the_gap_of_the_holder_lets_the_others_on() -> None:
    checkouts = in_a_row(6)
    workload = workload_of(trace_of(checkouts))
    assert simulate(workload).used == pytest.approx(sum(_use(c) for c in checkouts), rel=0.02)
    place = workload.places.index(CALL)
    released = simulate(workload, WhatIf(release=frozenset([place])))
    assert released.used < 0.2
    # It is inferred, so nobody is to be sure of it.
    assert workload.limits.guessed == pytest.approx(15 * (HOLD_S + COMMIT_S), rel=0.02)


def _use(checkout: Checkout) -> float:
    return (checkout.returned or 0.0) - (checkout.granted or 0.0)
