"""Which transactions lost a write: by what they did, and how they ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SELECT, UPDATE, make_checkout, make_request, op

from poolhog.analysis.findings.lost_write import lost_writes, writes
from poolhog.model import Cause, Checkout, Operation, OperationKind, Request

KINDS = {kind.value: kind for kind in OperationKind}


def operations(*steps: str) -> list[Operation]:
    """Steps such as ``begin``, a statement, ``rollback asked``, ``reset sent``, ``! statement``."""
    found = []
    for index, step in enumerate(steps):
        word, _, rest = step.partition(" ")
        kind = KINDS.get(word, OperationKind.STATEMENT)
        statement = step.removeprefix("! ") if kind is OperationKind.STATEMENT else None
        if kind is OperationKind.RESET and rest == "sent":
            statement = "ROLLBACK"
        cause = Cause(rest) if rest in set(Cause) else None
        error = "IntegrityError" if step.startswith("!") else None
        found.append(op(kind, index, index + 0.5, statement, error, cause=cause))
    return found


def checkout(*steps: str, request: Request | None = None) -> Checkout:
    return make_checkout("c1", 0.0, 0.0, 10.0, operations=operations(*steps), request=request)


@pytest.mark.parametrize(
    "steps",
    [
        ("begin", UPDATE, "rollback", "reset"),
        ("begin", SELECT, UPDATE, SELECT, "rollback", "reset"),
        ("begin", UPDATE, "reset sent"),
        ("begin", UPDATE, "commit", "begin", UPDATE, "rollback"),
        ("begin", SELECT, "rollback", "begin", UPDATE, "rollback"),
    ],
)
def test_lost(steps: tuple[str, ...]) -> None:
    assert [write.statement for write in lost_writes(checkout(*steps))] == [UPDATE]


@pytest.mark.parametrize(
    "steps",
    [
        ("begin", SELECT, "rollback", "reset"),
        ("begin", UPDATE, "commit", "reset"),
        ("begin", UPDATE, "commit", "begin", SELECT, "rollback", "reset"),
        ("begin", UPDATE, "rollback asked", "reset"),
        ("begin", UPDATE, "rollback exception", "reset"),
        ("begin", UPDATE, f"! {UPDATE}", "rollback", "reset"),
        ("begin", UPDATE, "reset asked"),
        (UPDATE, "reset sent"),  # in autocommit
        ("begin", UPDATE, "reset"),  # over by another way than ours
    ],
)
def test_not_lost(steps: tuple[str, ...]) -> None:
    assert not list(lost_writes(checkout(*steps)))


@pytest.mark.parametrize(
    ("status", "error", "lost"),
    [(200, None, 1), (None, None, 1), (302, None, 1), (409, None, 0), (200, "ValueError", 0)],
)
def test_an_error_of_the_request_explains_it(status: int, error: str | None, lost: int) -> None:
    request = replace(make_request(status=status), error=error)
    steps = "begin", UPDATE, "rollback"
    assert len(list(lost_writes(checkout(*steps, request=request)))) == lost


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (SELECT, False),
        (UPDATE, True),
        ("insert into notes values (?)", True),
        ("  DELETE FROM notes", True),
        ("MERGE INTO notes USING other ON ? WHEN MATCHED THEN DELETE", True),
        ("SELECT id FROM notes FOR UPDATE", False),
        ("WITH gone AS (DELETE FROM notes RETURNING id) SELECT * FROM gone", True),
        ("WITH n AS (SELECT 1)\nINSERT INTO notes SELECT * FROM n", True),
        ("WITH n AS (SELECT 1) UPDATE ONLY public.notes AS t\nSET data = ?", True),
        ('WITH n AS (SELECT 1) UPDATE "my notes" SET data = ?', True),
        ("WITH n AS (SELECT id FROM notes FOR UPDATE) SELECT * FROM n", False),
        ("WITH n AS (SELECT id FROM notes FOR NO KEY UPDATE OF notes) SELECT 1", False),
        ("UPDATES", False),
        ("CREATE TABLE notes (id int)", False),
    ],
)
def test_what_a_write_is(statement: str, expected: bool) -> None:
    assert writes(statement) is expected
