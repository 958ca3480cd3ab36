"""Whether a checkout is nested in another: its asker can go on with neither, or it is not."""

from __future__ import annotations

import pytest
from factories import make_checkout, make_request, make_site, op, sample

from poolhog.analysis.findings.nested_checkout import is_nested
from poolhog.model import Activity, Checkout, OperationKind

REQUEST = make_request()
LIBRARY = "/env/site-packages/psycopg/waiting.py"
WAIT_FOR = "/usr/lib/python3.11/asyncio/tasks.py"


def inner(owner: str, request: object = REQUEST) -> Checkout:
    return make_checkout("c2", 2.0, 2.5, 3.0, request=request, owner=owner)  # type: ignore[arg-type] # REQUEST or none


@pytest.mark.parametrize("request_", [REQUEST, None])
@pytest.mark.parametrize(
    ("started", "ended", "expected"),
    [(1.0, 1.9, True), (1.0, 2.1, False), (1.0, None, False), (2.1, 2.2, None)],
)
def test_who_is_in_a_statement_asks_for_nothing(
    request_: object, started: float, ended: float | None, expected: bool | None
) -> None:
    statement = op(OperationKind.STATEMENT, started, ended)
    outer = make_checkout("c1", 0.0, 0.1, 4.0, request=request_, operations=[statement])  # type: ignore[arg-type] # REQUEST or none
    # Without a request, a statement meanwhile is another's as well.
    want = request_ is not None if expected is None else expected
    assert is_nested(outer, inner("Task-1", request_), 5.0) is want


@pytest.mark.parametrize(
    ("caller", "function", "expected"),
    [
        ("/app/service.py", "wait_for", True),
        (LIBRARY, "wait_for", False),
        (LIBRARY, "TaskGroup.__aexit__", True),
    ],
)
def test_a_library_that_waits_for_a_task_of_its_own_waits_for_nobody_else(
    caller: str, function: str, expected: bool
) -> None:
    app = make_site()
    library = make_site(file=caller, caller=app, is_application=caller != LIBRARY)
    innermost = make_site(file=WAIT_FOR, function=function, caller=library, is_application=False)
    seen = sample(Activity.PARKED, 1.0, 3.5, innermost)
    outer = make_checkout("c1", 0.0, 0.1, 4.0, request=REQUEST, samples=[seen])
    assert is_nested(outer, inner("Task-2"), 5.0) is expected
