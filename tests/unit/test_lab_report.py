"""The lab's page and files: everything that was measured is in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_lab_claims import burst, get, load, make_finding, results

from poolhog.analysis.findings.entry import Spread
from poolhog.analysis.findings.parked_checkout import ParkedGaps
from poolhog.cli.lab_summary import print_summary
from poolhog.lab.claims import check
from poolhog.lab.machine import MachineUse
from poolhog.lab.parameters import Experiment
from poolhog.lab.predictions import EXTERNAL_CALL
from poolhog.lab.remedy_results import RemediesResults
from poolhog.lab.report import publish
from poolhog.lab.results import Diagnosis
from poolhog.lab.results_json import write_results
from poolhog.lab.service.settings import Style
from poolhog.model import OperationKind
from poolhog.render.findings import advice, detail
from poolhog.render.page import with_code

if TYPE_CHECKING:
    from poolhog.lab.results import Results

REMEDIES = Path(__file__).parents[2] / "docs" / "remedies.json"
FINDING = replace(make_finding(EXTERNAL_CALL), evidence=ParkedGaps(Spread(5.0, 5.1), {}))


@pytest.fixture
def run(tmp_path: Path) -> Results:
    """A run of all experiments, of each of which something was measured."""
    made = results(
        lifecycle=[get(Style.IMPLICIT, 0.9, OperationKind.ROLLBACK)],
        burst=[burst(Style.IMPLICIT, 10, 10.1, 5.0), burst(Style.EXPLICIT, 10, 5.1, 0.1)],
        load=[load(Style.IMPLICIT, 2.0), load(Style.EXPLICIT, 198.0)],
        remedies=RemediesResults.from_dict(json.loads(REMEDIES.read_text())),
        diagnoses=[Diagnosis(Experiment.BURST, Style.IMPLICIT, (FINDING,))],
    )
    made.parameters = replace(made.parameters, output=tmp_path, experiments=tuple(Experiment))
    made.claims = check(made)
    made.complete = True
    return made


def test_the_page_says_what_was_found_and_what_to_do(run: Results, tmp_path: Path) -> None:
    publish(run, tmp_path)
    page = (tmp_path / "report.html").read_text()
    said, wanted = with_code(detail(FINDING)), with_code(advice(FINDING))
    assert "<code>session.commit()</code>" in wanted
    assert f"<p>{said} <strong>{wanted}</strong></p>" in page
    assert "This run has no load of" not in page
    assert (tmp_path / "remedies.md").read_text().count("| remedy |") == 2


def test_a_claim_that_fails_says_why_and_how_to_repeat_it(
    run: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = MachineUse(cpus=2, load_average=3.4, used=0.97, stolen=0.12, service=0.9)
    run.burst.append(replace(burst(Style.PER_QUERY, 10, 7.0, 0.1), machine=busy))
    run.claims = check(run)
    publish(run, tmp_path)
    page = (tmp_path / "report.html").read_text()
    (why,) = re.findall(r'<p class="why">(.*?)</p>', page)
    assert "The machine was busy, which may explain this: load average 3.4 on 2 CPUs" in why
    assert "<code>poolhog lab burst --styles per-query --requests 10</code>" in why
    print_summary(run)
    said = " ".join(capsys.readouterr().out.split())
    assert "5 connections, does not hold. That is 1.75 s more than allowed" in said
    assert "Repeat what did not hold: poolhog lab burst --styles per-query --requests 10" in said


def test_each_style_that_the_talk_prints_is_printed_as_it_runs(
    run: Results, tmp_path: Path
) -> None:
    publish(run, tmp_path)
    page = (tmp_path / "report.html").read_text()
    for style in ("implicit", "explicit", "per-query"):
        assert f"<figcaption>{style}</figcaption>" in page


def test_the_terminal_has_every_part_in_order(
    run: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(run, (), tmp_path / "results.json")
    publish(run, tmp_path)
    print_summary(run)
    said = capsys.readouterr().out
    parts = [
        "1,000 users get 2.0 answers per second",
        "What a GET does in each style",
        "How long each of 10 requests took",
        "Answers per second under load",
        "What poolhog report says of each trace",
        "What each remedy comes to",
        "What it costs",
        "claims hold",
        "results.json  every number",
    ]
    places = [said.index(part) for part in parts]
    assert places == sorted(places)
