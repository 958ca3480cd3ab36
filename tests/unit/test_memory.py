"""A ledger of a trace in memory has the columns of the ledger of its file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from factories import PROCESS, make_checkout, make_pool, make_request, op
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import Scenario

from poolhog.analysis.ledger import NEVER, Ledger
from poolhog.analysis.memory import MemoryFacts, ledgers_of
from poolhog.model import Checkout, OperationKind, Request, Trace
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from poolhog.analysis.ledger import Numbers

OF_CHECKOUTS = (
    *("asked", "left", "over", "pool", "outcome", "is_granted", "is_returned", "is_closed"),
    *("connecting", "pinging", "busy"),
)
OF_REQUESTS = ("started", "responding", "responded", "ended", "failed", "is_websocket")


def told(ledger: Ledger) -> dict[str, Any]:
    """What a ledger's columns say, with names instead of the numbers of names."""
    facts, requests, samples = ledger.facts, ledger.requests, ledger.samples
    operations = ledger.operations(np.arange(len(ledger)))
    found: dict[str, Any] = {name: getattr(ledger, name).tolist() for name in OF_CHECKOUTS}
    found["site"] = named(ledger.site, ledger.sites)
    found["route"] = named(ledger.route, ledger.routes)
    owners = facts.owners(ledger.number.tolist())
    found["owner"] = [owners[number] for number in ledger.number.tolist()]
    of_requests = [getattr(requests, name) for name in OF_REQUESTS]
    rows = list(zip(named(requests.name, ledger.routes), *of_requests, strict=True))
    found["request"] = [rows[at] if at >= 0 else None for at in ledger.request.tolist()]
    found["samples"] = [
        *(getattr(samples, name).tolist() for name in ("row", "activity", "started", "ended")),
        named(samples.site, ledger.sites),
    ]
    found["operations"] = [column.tolist() for column in operations[:4]]
    found["operation sites"] = named(operations.site, ledger.sites)
    for name, texts in (
        ("statement", facts.statements),
        ("error", facts.texts),
        ("cause", facts.texts),
    ):
        found[name] = [texts.get(number) for number in getattr(operations, name).tolist()]
    return found


def named(codes: Numbers, names: Any) -> list[Any]:
    return [names[code] for code in codes.tolist()]


def askers(ledger: Ledger) -> list[int]:
    """Askers by when each first asked."""
    known: dict[int, int] = {}
    return [known.setdefault(asker, len(known)) for asker in ledger.asker.tolist()]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_it_is_that_of_the_file(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        scenario = Scenario(data.draw, Path(directory))
        scenario.write(data.draw(st.integers(0, 5)))
        (reader,) = stream_trace(directory)
        with reader.snapshot() as snapshot:
            (ledger,) = ledgers_of(reader.read())
            of_file = Ledger(snapshot)
            assert told(ledger) == told(of_file)
            assert askers(ledger) == askers(of_file)
            rows = np.arange(len(ledger))
            assert list(ledger.checkouts(rows)) == list(of_file.checkouts(rows))


def trace_of(*checkouts: Checkout, requests: tuple[Request, ...] = ()) -> Trace:
    pools = tuple({checkout.pool.id: checkout.pool for checkout in checkouts}.values())
    return Trace((PROCESS,), pools, requests, checkouts, 60.0)


def test_what_has_not_come_is_marked() -> None:
    waiting = make_checkout("p.2", 2.0, request=make_request(ended=None))
    (ledger,) = ledgers_of(trace_of(waiting))
    assert ledger.requests.ended.tolist() == [NEVER]
    assert not ledger.is_closed.any()
    assert ledger.left.tolist() == [60_000_000]


def test_operations_of_some_checkouts() -> None:
    pool = make_pool()
    checkouts = [
        make_checkout(
            f"p.{n}",
            n,
            n + 0.5,
            n + 1.0,
            pool=pool,
            operations=[op(OperationKind.STATEMENT, n + 0.6, n + 0.7, f"SELECT {n}\nFROM t")],
        )
        for n in range(3)
    ]
    facts = MemoryFacts(trace_of(*checkouts), PROCESS)
    ((part),) = facts.operations([1, 2])
    assert part.checkout.tolist() == [1, 2]
    assert part.since.tolist() == [600_000, 600_000]
    assert [facts.statements[n] for n in part.statement.tolist()] == [
        "SELECT 1\nFROM t",
        "SELECT 2\nFROM t",
    ]
    assert not list(facts.operations([]))
    assert list(facts.numbered([2, 0])) == [checkouts[0], checkouts[2]]


def test_a_trace_without_checkouts() -> None:
    (ledger,) = ledgers_of(Trace((PROCESS,), (), (), (), 60.0))
    assert len(ledger) == 0
    assert not len(ledger.operations(ledger.number).row)
