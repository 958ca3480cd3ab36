"""Transactions of checkouts, and how long they were idle on the server."""

from __future__ import annotations

from dataclasses import replace

from drawn import traces
from factories import PROCESS, make_checkout, make_pool, op
from hypothesis import given
from views import gaps_of, idle_in_transaction

from poolhog.analysis.accounting import Transaction, transactions
from poolhog.model import OperationKind as Kind
from poolhog.model import Trace


@given(traces())
def test_idle_in_transaction_is_part_of_the_gaps(trace: Trace) -> None:
    for checkout in trace.checkouts:
        idle = idle_in_transaction(checkout)
        assert 0 <= idle <= sum(ended - started for started, ended in gaps_of(checkout)) + 1e-6


def test_a_commit_a_rollback_and_a_failed_commit() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=10.0,
        operations=[
            op(Kind.BEGIN, 0.0, 0.0),
            op(Kind.STATEMENT, 1.0, 2.0, "UPDATE a"),
            op(Kind.COMMIT, 2.0, 3.0),
            op(Kind.BEGIN, 3.0, 3.0),
            op(Kind.ROLLBACK, 4.0, 5.0),
            op(Kind.BEGIN, 5.0, 5.0),
            op(Kind.COMMIT, 6.0, 7.0, error="IntegrityError"),
            op(Kind.BEGIN, 7.0, 7.0),
            op(Kind.RESET, 8.0, 9.0, "ROLLBACK"),
        ],
    )
    assert transactions(checkout, 10.0) == (
        Transaction(0.0, 3.0, Kind.COMMIT),
        Transaction(3.0, 5.0, Kind.ROLLBACK),
        Transaction(5.0, 7.0, Kind.ROLLBACK),
        Transaction(7.0, 9.0, Kind.ROLLBACK),
    )


def test_a_transaction_that_is_open_has_no_end() -> None:
    operations = [op(Kind.BEGIN, 1.0, 1.0), op(Kind.STATEMENT, 1.0, 2.0, "SELECT")]
    still_open = make_checkout(granted=0.0, operations=operations)
    assert transactions(still_open, 5.0) == (Transaction(1.0, 5.0, None),)
    committing = make_checkout(granted=0.0, operations=[*operations, op(Kind.COMMIT, 4.0, None)])
    assert transactions(committing, 5.0) == (Transaction(1.0, 5.0, None),)


def test_a_begin_that_failed_begins_nothing() -> None:
    operations = [op(Kind.BEGIN, 1.0, 2.0, "BEGIN", "OSError"), op(Kind.RESET, 3.0, 4.0)]
    assert transactions(make_checkout(granted=0.0, operations=operations), 5.0) == ()


def test_a_second_begin_is_part_of_the_transaction() -> None:
    operations = [
        op(Kind.BEGIN, 1.0, 1.5, "BEGIN"),
        op(Kind.BEGIN, 2.0, 2.5, "BEGIN"),
        op(Kind.COMMIT, 3.0, 4.0, "COMMIT"),
    ]
    found = transactions(make_checkout(granted=0.0, returned=5.0, operations=operations), 5.0)
    assert found == (Transaction(1.0, 4.0, Kind.COMMIT),)


def test_autocommit_has_no_transactions() -> None:
    operations = [op(Kind.STATEMENT, 1.0, 2.0, "VACUUM"), op(Kind.RESET, 3.0, 3.0)]
    checkout = make_checkout(granted=0.0, returned=4.0, operations=operations)
    assert transactions(checkout, 4.0) == ()
    assert idle_in_transaction(checkout) == 0.0


def test_idle_in_transaction_counts_from_the_end_of_the_first_statement() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=20.0,
        operations=[
            op(Kind.BEGIN, 1.0, 1.0),  # sent with the first statement
            op(Kind.STATEMENT, 3.0, 4.0, "SELECT"),
            op(Kind.STATEMENT, 6.0, 7.0, "UPDATE"),
            op(Kind.COMMIT, 11.0, 12.0),
            op(Kind.RESET, 19.0, 19.5),
        ],
    )
    assert idle_in_transaction(checkout) == 2.0 + 4.0


def test_idle_in_transaction_counts_from_a_begin_that_is_a_round_trip() -> None:
    checkout = make_checkout(
        granted=0.0,
        returned=9.0,
        operations=[
            op(Kind.BEGIN, 1.0, 2.0, "BEGIN;"),
            op(Kind.STATEMENT, 5.0, 6.0, "SELECT"),
            op(Kind.ROLLBACK, 7.0, 8.0, "ROLLBACK;"),
        ],
    )
    assert idle_in_transaction(checkout) == 3.0 + 1.0


def test_a_transaction_that_sent_nothing_is_never_idle_on_the_server() -> None:
    operations = [op(Kind.BEGIN, 1.0, 1.0), op(Kind.ROLLBACK, 5.0, 5.0)]
    checkout = make_checkout(granted=0.0, returned=9.0, operations=operations)
    assert idle_in_transaction(checkout) == 0.0


def test_an_open_transaction_is_idle_until_the_end_of_the_trace() -> None:
    operations = [op(Kind.BEGIN, 1.0, 1.0), op(Kind.STATEMENT, 2.0, 3.0, "SELECT")]
    process = replace(PROCESS, written=8.0)
    pool = replace(make_pool(), process=process)
    checkout = make_checkout(granted=0.0, operations=operations, pool=pool)
    assert idle_in_transaction(checkout) == 5.0
