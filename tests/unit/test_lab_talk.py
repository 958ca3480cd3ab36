from __future__ import annotations

from pathlib import Path

from test_lab_claims import burst, get, load, results

from poolhog.lab.parameters import Parameters
from poolhog.lab.results import Claim
from poolhog.lab.service.settings import Style
from poolhog.lab.talk import claim_text, conclusion
from poolhog.model import OperationKind

P = Parameters(output=Path("out"))


def test_the_load_is_the_conclusion_if_both_styles_ran() -> None:
    found = results(
        load=[load(Style.IMPLICIT, 2.0), load(Style.EXPLICIT, 198.0)],
        burst=[burst(Style.IMPLICIT, 10, 10.0, 5.0), burst(Style.EXPLICIT, 10, 5.0, 0.0)],
    )
    assert "2.0 answers per second" in conclusion(found)
    assert "99 times as many" in conclusion(found)


def test_else_the_largest_burst_is() -> None:
    bursts = [burst(Style.IMPLICIT, 10, 10.1, 5.0), burst(Style.EXPLICIT, 10, 5.1, 0.0)]
    assert "10 requests at once take 10.1 s" in conclusion(results(burst=bursts))
    assert "5.10 s if it gives it back first" in conclusion(results(burst=bursts))


def test_one_style_alone_is_told_without_a_comparison() -> None:
    assert conclusion(results(burst=[burst(Style.EXPLICIT, 10, 5.1, 0.0)])) == (
        "explicit: 10 requests at once take 5.10 s, of which the external call takes 5.00 s."
    )
    assert "per-query: 1,000 users get 197.0" in conclusion(
        results(load=[load(Style.PER_QUERY, 197.0)])
    )
    lives = [get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK)]
    assert "goes back after the response" in conclusion(results(lifecycle=lives))


def test_a_run_without_results_says_so() -> None:
    assert conclusion(results()) == "Nothing was finished in this run."


def test_amounts_have_their_unit() -> None:
    claim = claim_text(Claim("T15", "text", 200.0, 199.4, holds=True, unit="requests/s"), P)
    assert (claim.expected_text, claim.measured_text) == ("200 requests/s", "199.4 requests/s")
    assert (
        claim_text(Claim("T7", "text", 5.0, 5.04, holds=True, unit="s"), P).measured_text
        == "5.04 s"
    )
    assert (
        claim_text(Claim("T1", "text", "before", "after", holds=False), P).measured_text == "after"
    )
