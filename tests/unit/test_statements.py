"""Statements are added up from packed operations as if each checkout had been looked at."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenarios import Scenario

from poolhog.analysis.routes import route_of
from poolhog.analysis.statements import read_statements
from poolhog.trace.reader import open_trace, stream_trace

if TYPE_CHECKING:
    from poolhog.model import OperationKind


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(st.data())
def test_whatever_happened(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        counts: Counter[tuple[OperationKind, str | None]] = Counter()
        seconds: Counter[tuple[OperationKind, str | None]] = Counter()
        routes: Counter[tuple[OperationKind, str | None, str]] = Counter()
        for checkout in open_trace(directory).checkouts:
            for operation in checkout.operations:
                key = operation.kind, operation.statement
                if operation.statement is None and operation.kind in ("begin", "reset"):
                    continue
                counts[key] += 1
                routes[*key, route_of(checkout)] += 1
                seconds[key] += round(((operation.ended or 0) - operation.started) * 1e6)
        found = read_statements(stream_trace(directory))
        assert {(use.kind, use.statement): use.count for use in found} == counts
        assert {(use.kind, use.statement): round(use.total * 1e6) for use in found} == seconds
        told = {(u.kind, u.statement, name): n for u in found for name, n in u.routes.items()}
        assert told == routes
        for use in found:
            assert use.at(0.5) <= use.at(0.95) <= use.at(1.0) == use.durations[-1] / 1e6
        assert [use.total for use in found] == sorted((u.total for u in found), reverse=True)
