"""Records: what they say of themselves, and how they become rows."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from recorders import pool_record, request_record

from poolhog.model import Cause, OperationKind, Outcome
from poolhog.recording.records import OPERATIONS_PER_ROW, CheckoutRecord, OperationRecord
from poolhog.recording.requests import MOST_STAGES
from poolhog.recording.sites import SiteRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.recording.record import Line


class Texts:
    """Texts by the order of their coming, from 0 on."""

    began_ns = 0

    def __init__(self) -> None:
        self.numbers: dict[str, int] = defaultdict(lambda: len(self.numbers))
        self.statements: dict[str | None, dict[str, int]] = defaultdict(lambda: self.numbers)

    def source_of(self, line: Line) -> str:
        return line.source

    def learn(self, sent: Iterable[tuple[str | None, str]]) -> None:
        for dialect, statement in sent:
            self.statements[dialect][statement]

    @property
    def texts(self) -> list[str]:
        return list(self.numbers)


def checkout_record() -> CheckoutRecord:
    return CheckoutRecord(pool_record(), None, "MainThread", None)


def operate(checkout: CheckoutRecord, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        sql = f"SELECT c{number}"
        record = OperationRecord(checkout, OperationKind.STATEMENT, sql, None)
        checkout.operations.append(record)
        record.end()


def statements(packed: str, texts: Texts) -> list[str]:
    return [texts.texts[operation[4]] for operation in json.loads(packed)]


def test_ids_are_never_used_twice() -> None:
    records = [pool_record(), request_record(), checkout_record(), checkout_record()]
    ids = [record.id for record in records]
    assert ids == sorted(set(ids))


def test_a_checkout_is_done_once_it_is_returned_or_given_up() -> None:
    returned, given_up = checkout_record(), checkout_record()
    returned.grant(1)
    assert not returned.done
    assert not given_up.done
    returned.end()
    given_up.give_up(Outcome.TIMEOUT)
    assert returned.done
    assert given_up.done


def test_there_is_a_limit_to_the_stages_of_a_request() -> None:
    request = request_record()
    begun = [request.begin_stage("session") for _ in range(2 * MOST_STAGES)]
    for stage in begun:
        stage.end()
    assert request.stages == begun[:MOST_STAGES]


def test_few_operations_are_in_the_row_of_their_checkout() -> None:
    texts, checkout = Texts(), checkout_record()
    operate(checkout, OPERATIONS_PER_ROW)
    assert checkout.earlier_rows(texts) == []
    assert len(statements(checkout.row(texts)[-1], texts)) == OPERATIONS_PER_ROW


def test_of_many_the_earlier_ones_are_moved_into_rows_of_their_own() -> None:
    texts, checkout = Texts(), checkout_record()
    operate(checkout, 3 * OPERATIONS_PER_ROW + 5)
    for _ in range(2):  # a commit that failed is tried again, with the same rows
        rows = checkout.earlier_rows(texts)
        assert [row[:2] for row in rows] == [(checkout.id, 0), (checkout.id, 1)]
    kept = statements(checkout.row(texts)[-1], texts)
    parts = [statements(row[2], texts) for row in rows]
    assert [*parts[0], *parts[1], *kept] == [f"SELECT c{n}" for n in range(305)]
    checkout.forget()
    assert statements(checkout.row(texts)[-1], texts) == kept
    operate(checkout, 2 * OPERATIONS_PER_ROW, first=305)
    rows = checkout.earlier_rows(texts)
    assert [row[:2] for row in rows] == [(checkout.id, 2), (checkout.id, 3)]
    assert statements(rows[0][2], texts)[0] == "SELECT c200"


def test_operations_that_come_while_rows_are_made_are_not_lost() -> None:
    texts, checkout = Texts(), checkout_record()
    operate(checkout, 3 * OPERATIONS_PER_ROW)
    moved = [s for row in checkout.earlier_rows(texts) for s in statements(row[2], texts)]
    operate(checkout, OPERATIONS_PER_ROW, first=300)  # by the application's thread
    kept = statements(checkout.row(texts)[-1], texts)
    checkout.forget()
    assert [*moved, *kept] == [f"SELECT c{n}" for n in range(400)]
    assert statements(checkout.row(texts)[-1], texts) == kept


def test_an_operation_leaves_out_what_is_missing_at_its_end() -> None:
    texts, checkout = Texts(), checkout_record()
    in_flight = OperationRecord(checkout, OperationKind.COMMIT, None, None)
    assert len(json.loads(in_flight.packed(checkout.asked_ns, texts))) == 2
    in_flight.end()
    assert len(json.loads(in_flight.packed(checkout.asked_ns, texts))) == 3
    failed = OperationRecord(checkout, OperationKind.STATEMENT, "SELECT", None)
    failed.end(ValueError("secret"))
    assert len(json.loads(failed.packed(checkout.asked_ns, texts))) == 6
    reset = OperationRecord(checkout, OperationKind.RESET, "ROLLBACK", None)
    reset.cause = Cause.EXCEPTION
    reset.end()
    packed = json.loads(reset.packed(checkout.asked_ns, texts))
    assert [packed[index] for index in (3, 5)] == [None, None]
    assert packed[6] == texts.numbers["exception"]
    assert "secret" not in texts.texts


@pytest.mark.parametrize("granted", [False, True])
def test_only_what_was_in_flight_during_use_is_busy(granted: bool) -> None:
    checkout = checkout_record()
    if granted:
        checkout.grant(1)
    record = OperationRecord(checkout, OperationKind.CONNECT, None, None)
    record.started_ns -= 5_000_000
    record.end()
    spent = (checkout.connecting_us, checkout.busy_us)
    assert (spent[granted] >= 5_000, spent[not granted]) == (True, 0)


def test_a_site_is_written_with_its_line_and_text() -> None:
    frame: Any = sys._getframe()
    outer = SiteRecord(frame.f_back.f_code, frame.f_back.f_lasti, None, is_application=False)
    site = SiteRecord(frame.f_code, frame.f_lasti, outer, is_application=True)
    _, caller, file, line, function, source, is_application = site.row(Texts())
    assert (caller, file, function) == (outer.id, __file__, frame.f_code.co_qualname)
    assert (line, is_application) == (site.line, 1)
    assert source == "site = SiteRecord(frame.f_code, frame.f_lasti, outer, is_application=True)"


def test_a_site_without_a_file_to_read_has_no_text() -> None:
    code = compile("x = 1\ny = 2\n", "/nowhere/made.py", "exec")
    row = SiteRecord(code, 0, None, is_application=True).row(Texts())
    assert row[2:] == ("/nowhere/made.py", row[3], "<module>", "", 1)
