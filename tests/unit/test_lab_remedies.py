"""Remedies are predicted from the implicit trace, and told as they were measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from factories import implicit_burst
from test_replay import trace_of

from poolhog.analysis.replay import replay, workload_of
from poolhog.lab.parameters import Parameters
from poolhog.lab.predictions import EXTERNAL_CALL, PredictionCheck, external_call
from poolhog.lab.remedies import table
from poolhog.lab.remedies.predictions import RELEASING, Baseline
from poolhog.lab.remedy_catalogue import REMEDIES, chosen
from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.remedy_results import Race, RemediesResults

if TYPE_CHECKING:
    from poolhog.analysis.replay import Replay
    from poolhog.model import Trace

DOCS = Path(__file__).parents[2] / "docs"


def test_every_name_is_a_remedy_and_what_is_to_be_cured_comes_first() -> None:
    assert [remedy.name for remedy in REMEDIES] == list(RemedyName)
    assert [remedy.number for remedy in REMEDIES] == list(range(15))
    assert chosen(()) == REMEDIES
    few = chosen((RemedyName.NULL_POOL, RemedyName.EXPLICIT))
    assert [r.name for r in few] == ["implicit", "explicit", "null-pool"]


@pytest.mark.parametrize(
    ("race", "verdict"),
    [
        (Race(answered=2, refused=0, kept=2, kept_after_retry=None), "both kept"),
        (Race(answered=2, refused=0, kept=1, kept_after_retry=None), "one lost"),
        (Race(answered=2, refused=0, kept=0, kept_after_retry=None), "both lost"),
        (Race(answered=1, refused=1, kept=1, kept_after_retry=2), "one refused"),
        (Race(answered=0, refused=0, kept=0, kept_after_retry=None), "failed"),
    ],
)
def test_a_write_that_was_answered_and_is_not_there_is_lost(race: Race, verdict: str) -> None:
    assert race.verdict == verdict


def lab_burst(requests: int) -> Replay:
    """A burst of the lab's implicit service, whose call takes 5 s, over 5 connections."""
    trace: Trace = trace_of(implicit_burst(requests, 5, 5.0)[0])
    checkouts = []
    for checkout in trace.checkouts:
        samples = tuple(
            replace(s, site=replace(s.site, source=EXTERNAL_CALL)) if s.site else s
            for s in checkout.samples
        )
        checkouts.append(replace(checkout, samples=samples))
    return replay(workload_of(replace(trace, checkouts=tuple(checkouts))))


def test_what_a_remedy_does_to_a_burst_is_predicted() -> None:
    baseline = Baseline(bursts={10: lab_burst(10)})
    assert external_call(baseline.bursts[10].workload)
    seconds = {remedy.name: baseline.burst(remedy, 10).value for remedy in REMEDIES}
    holding = {RemedyName.IMPLICIT, RemedyName.FUNCTION_SCOPE}
    untold = {RemedyName.PGBOUNCER, RemedyName.FOUR_WORKERS, RemedyName.BACKGROUND_TASK}
    for remedy, predicted in seconds.items():
        if remedy in untold:
            assert predicted is None
        else:
            waves = 2 if remedy in holding else 1
            assert predicted == pytest.approx(5.0 * waves, rel=0.05), remedy


def test_what_is_not_predicted_has_a_reason() -> None:
    baseline = Baseline(bursts={10: lab_burst(10)})
    for remedy in REMEDIES:
        prediction = baseline.burst(remedy, 10)
        assert (prediction.value is None) == bool(prediction.reason)


def test_an_error_is_a_share_of_what_was_measured() -> None:
    near = PredictionCheck("x", "burst-implicit", "makespan_s", 10.2, 10.0, allowed=0.03)
    assert near.error == pytest.approx(0.02)
    assert near.holds
    assert not replace(near, predicted=10.4).holds
    assert not replace(near, predicted=9.6).holds
    assert replace(near, measured=0.0).error is None


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "remedies.json").read_text())
    return loaded


def test_the_page_has_the_numbers_of_its_run(told: dict[str, Any]) -> None:
    page = (DOCS / "remedies.md").read_text()
    found = RemediesResults.from_dict(told)
    assert found.as_dict() == told
    for part in table.markdown(found, (5, 10)).split("\n\n"):
        assert part.strip() in page


def test_what_cures_is_what_holds_no_connection_through_the_call(told: dict[str, Any]) -> None:
    found = RemediesResults.from_dict(told)
    users = found.measured[0].load.users
    parameters = Parameters(output=Path("out"), users=users)
    said = table.conclusion(found, parameters)
    named = said.partition("failure: ")[2].partition(". ")[0].split(", ")
    assert set(named) <= set(RELEASING)
    assert "Implicit gets" in said


def test_a_narrow_table_has_the_largest_burst_only(told: dict[str, Any]) -> None:
    narrow = table.measured(RemediesResults.from_dict(told), (5, 10), narrow=True)
    assert "10 at once" in narrow.headings
    assert not {"5 at once", "written/s"} & set(narrow.headings)
    assert {len(row) for row in narrow.rows} == {len(narrow.headings)}
