"""Traces of older recorders, which are stored as they were written: they stay readable."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from verbs import poolhog

from poolhog import layout
from poolhog.model import Operation, Pool, Process, Request, Sample, Site, Stage
from poolhog.trace.reader import open_trace

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).parent.parent / "data"
STORED = sorted(path.name for path in DATA.iterdir() if path.is_dir())
SMALLEST = 1e-6
"""Seconds: what a trace tells apart."""


@pytest.fixture(params=STORED)
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a stored trace: SQLite may write beside what it reads."""
    return Path(shutil.copytree(DATA / request.param, tmp_path / request.param))


def expected(trace: Path, what: str) -> Any:
    return json.loads((DATA / f"{trace.name}.{what}.json").read_text(encoding="utf-8"))


def told(value: Any) -> Any:
    """A value of the model as JSON; pools, processes and requests by their ids."""
    if isinstance(value, Site):
        above = [] if value.caller is None else told(value.caller)
        mark = "" if value.is_application else " (library)"
        return [f"{value.file}:{value.line} {value.function}{mark}: {value.source}", *above]
    if isinstance(value, Operation | Sample | Stage):
        return [told(part) for part in fields(value).values()]
    if dataclasses.is_dataclass(value):
        return {name: told(part) for name, part in fields(value).items()}
    if isinstance(value, dict):
        return {key: told(part) for key, part in value.items()}
    return value if isinstance(value, str | int | float | None) else [told(part) for part in value]


def fields(value: Any) -> Mapping[str, Any]:
    """The fields of a value, with those that have ids of their own named by these."""
    found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    named = {Pool: "id", Request: "id", Process: "pid"}
    return {
        name: getattr(part, named[type(part)]) if type(part) in named else part
        for name, part in found.items()
    }


def same(found: Any, stored: Any, at: str = "$") -> None:
    """Fail where two JSON values differ, but for less than the clock tells apart."""
    assert type(found) is type(stored) or {type(found), type(stored)} == {int, float}, at
    if isinstance(stored, dict):
        # What there is may grow.
        assert found.keys() >= stored.keys(), at
        for key, part in stored.items():
            same(found[key], part, f"{at}.{key}")
    elif isinstance(stored, list):
        assert len(found) == len(stored), at
        for number, part in enumerate(stored):
            same(found[number], part, f"{at}[{number}]")
    elif isinstance(stored, float):
        assert found == pytest.approx(stored, rel=1e-6, abs=SMALLEST), at
    else:
        assert found == stored, at


def test_every_schema_has_a_stored_trace() -> None:
    assert f"schema-{layout.SCHEMA_VERSION}" in STORED


def test_the_facts_are_what_they_were(trace: Path) -> None:
    found = open_trace(trace)
    assert found.unreadable == ()
    facts = {
        "processes": told(found.processes),
        "pools": told(found.pools),
        "requests": told(found.requests),
        "checkouts": told(found.checkouts),
        "until": found.until,
    }
    same(json.loads(json.dumps(facts)), expected(trace, "facts"))


def test_the_report_is_what_it_was(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poolhog("report", "--json", trace)
    said = json.loads(capsys.readouterr().out.replace(str(trace), "TRACE"))
    stored = expected(trace, "report")
    for finding in (*said["findings"], *stored["findings"]):
        # In words, which may become plainer.
        assert finding.pop("advice")
    same(said, stored)
