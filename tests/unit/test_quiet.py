"""Passing quiet checkouts by changes nothing: a report is the same as when each is looked at."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenarios import Scenario

from poolhog.analysis.findings import Finding, known_thresholds
from poolhog.analysis.report import Books, Report, read_report
from poolhog.analysis.thresholds import Thresholds
from poolhog.render.findings import advice, detail
from poolhog.trace.reader import stream_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = Thresholds({threshold.name: 0.0 for threshold in known_thresholds()})
"""All that is something is a finding."""


def looked_at_one_by_one(directory: Path, thresholds: Thresholds) -> Report:
    """The report, with every checkout made and looked at."""
    books = Books(thresholds)
    for reader in stream_trace(directory):
        books.open(reader.process, reader.pools)
        for checkout in reader.checkouts():
            books.add(checkout)
        books.close()
        books.count(reader.request_counts())
    return books.report()


def differences(one: Any, other: Any, path: str = "report") -> Iterator[str]:
    """Where two reports differ by more than a rounding error."""
    if dataclasses.is_dataclass(one) and type(one).__name__ not in ("Site", "Process"):
        if isinstance(one, Finding):
            for words in (detail, advice):  # evidence names sites, which are another's objects
                yield from differences(words(one), words(other), f"{path}.{words.__name__}")
        for field in dataclasses.fields(one):
            name = field.name
            if isinstance(one, Finding) and name == "evidence":
                continue
            yield from differences(getattr(one, name), getattr(other, name), f"{path}.{name}")
    elif isinstance(one, float):
        if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-6):
            yield f"{path}: {one} and {other}"
    elif isinstance(one, tuple) and len(one) == len(other):
        if path == "report.routes":  # those that are equally much parked are in any order
            one, other = (sorted(routes, key=lambda route: route.name) for routes in (one, other))
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif one != other and type(one).__name__ != "Site":
        yield f"{path}: {one} and {other}"


def is_same(directory: Path, thresholds: Thresholds) -> None:
    quickly = read_report(stream_trace(directory), thresholds)
    slowly = looked_at_one_by_one(directory, thresholds)
    assert list(differences(quickly, slowly)) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from([Thresholds(), NOTHING]))
def test_whatever_happened(data: st.DataObject, thresholds: Thresholds) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for _ in range(data.draw(st.integers(1, 2))):
            Scenario(data.draw, directory).write(data.draw(st.integers(1, 8)))
        is_same(directory, thresholds)
