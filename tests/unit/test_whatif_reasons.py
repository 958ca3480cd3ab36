"""No prediction is printed that the replay does not deserve, and the reason stands in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from factories import PROCESS, implicit_burst, make_checkout, make_pool, make_request, trace_of
from traces import hostile_trace
from verbs import poolhog

from poolhog.analysis.memory import ledgers_of
from poolhog.analysis.replay.chains import workload_of
from poolhog.analysis.replay.limits import Limits, hanging, waiting_threads
from poolhog.analysis.replay.prediction import Prediction, predict, replay
from poolhog.analysis.replay.reasons import Reason, ReasonKind, reasons, reasons_of
from poolhog.analysis.replay.whatif import WhatIf
from poolhog.render.reasons import WORDS, no_prediction

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.analysis.ledger import Ledger
    from poolhog.analysis.replay.prediction import Replay
    from poolhog.model import Checkout


@pytest.fixture
def impossible(tmp_path: Path) -> Path:
    """A trace in which a pool of one lent two connections at once: no replay comes near it."""
    hostile_trace(tmp_path, "await the_tax_office(form)")
    return tmp_path / "trace"


@pytest.mark.parametrize("arguments", [[], ["--release", "all"], ["--pool-size", "1..4"]])
def test_the_verb_says_why_instead_of_a_number(
    arguments: list[str], impossible: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("whatif", impossible, *arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("No prediction: the replay of the run as it was differs from")
    assert not [line for line in lines if "what if" in line or line.startswith("pool size")]
    assert lines[-1].startswith("Next: poolhog report")


@pytest.mark.parametrize("arguments", [["--release", "all"], ["--pool-size", "1..4"]])
def test_the_json_has_the_reasons_and_no_numbers(
    arguments: list[str], impossible: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("whatif", impossible, *arguments, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    (reason,) = found["not_predicted"]
    assert reason["kind"] == "replay-error"
    assert reason["amount"] > 0.1
    assert reason["told"]
    assert found["predicted"] is found["curve"] is found["formulas"]["predicted"] is None


def test_report_and_page_say_why_beside_the_finding(
    impossible: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poolhog("report", impossible)
    out = capsys.readouterr().out
    assert "No prediction: the replay of the run as it was differs" in " ".join(out.split())
    assert "estimate" not in out
    poolhog("report", impossible, "--json")
    whatif = json.loads(capsys.readouterr().out)["findings"][0]["whatif"]
    assert whatif["predicted"] is None
    assert [reason["kind"] for reason in whatif["not_predicted"]] == ["replay-error"]
    assert whatif["curve"] == []
    page = tmp_path / "out.html"
    poolhog("report", impossible, "--html", page)
    text = page.read_text()
    assert "No prediction: the replay of the run as it was differs" in text
    assert 'class="curves"' not in text


def test_there_is_no_picture_of_a_curve_that_is_none(
    impossible: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "curve.svg"
    poolhog("whatif", impossible, "--pool-size", "1..4", "--svg", picture, code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "No prediction: the replay" in line
    assert not picture.exists()


def test_every_kind_of_reason_has_words() -> None:
    assert set(WORDS) == set(ReasonKind)
    told = no_prediction([Reason(kind, 3.0) for kind in ReasonKind])
    assert told.count(";") == len(ReasonKind) - 1


def burst() -> Replay:
    checkouts, requests, *_ = implicit_burst()
    return replay(workload_of(trace_of(checkouts, requests)))


def with_limits(replayed: Replay, **limits: Any) -> Replay:
    return replace(replayed, workload=replace(replayed.workload, limits=Limits(**limits)))


def kinds(found: tuple[Reason, ...]) -> list[str]:
    return [reason.kind.value for reason in found]


def test_a_replay_like_the_run_deserves_a_prediction() -> None:
    assert reasons(burst(), ()) == ()


def test_each_limit_is_a_reason() -> None:
    replayed = burst()
    used = replayed.workload.recorded.lent
    assert kinds(reasons(with_limits(replayed, hanging=2.0), ())) == ["hanging"]
    assert kinds(reasons(with_limits(replayed, threads=8), ())) == ["thread-limit"]
    assert kinds(reasons(with_limits(replayed, unknown=3), ())) == ["unknown-use"]
    assert kinds(reasons(with_limits(replayed, ready=used * 0.06), ())) == ["blocked-loop"]
    assert kinds(reasons(with_limits(replayed, ready=used * 0.04), ())) == []
    assert kinds(reasons(with_limits(replayed, locks=used * 0.06), ())) == ["lock-waits"]
    assert kinds(reasons(with_limits(replayed, threads=8, hanging=2.0), ())) == [
        "hanging",
        "thread-limit",
    ]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [(0.01, 0.29, []), (0.01, 0.31, ["processor"]), (0.5, 0.5, []), (None, None, [])],
)
def test_a_processor_that_is_busier_than_it_was_is_a_reason(
    before: float | None, after: float | None, found: list[str]
) -> None:
    predicted = predict(burst(), WhatIf(pool_size=10))
    made = Prediction(
        predicted.terms,
        replace(predicted.before, running=before),
        replace(predicted.after, running=after),
    )
    assert kinds(reasons_of(made)) == found


@pytest.mark.parametrize(
    ("before", "after", "users", "found"),
    [
        (2.0, 0.09, None, ["too-short"]),
        (2.0, 0.39, None, ["too-short"]),
        (2.0, 0.41, None, []),
        (20.0, 0.6, None, []),
        (0.08, 0.05, None, []),
        (2.0, 0.09, 4, []),
    ],
)
def test_a_burst_that_would_be_over_at_once_is_a_reason(
    before: float, after: float, users: int | None, found: list[str]
) -> None:
    predicted = predict(burst(), WhatIf(pool_size=10))
    made = Prediction(
        replace(predicted.terms, users=users),
        replace(predicted.before, makespan=before),
        replace(predicted.after, makespan=after),
    )
    assert kinds(reasons_of(made)) == found


def ledger_of(checkouts: list[Checkout], until: float) -> Ledger:
    requests = {c.request.id: c.request for c in checkouts if c.request is not None}
    process = replace(PROCESS, written=until)
    (ledger,) = ledgers_of(trace_of(checkouts, requests.values(), process=process))
    return ledger


def test_a_pool_that_does_nothing_while_requests_wait_hangs() -> None:
    pool = make_pool(size=1)
    held = make_checkout("c1", 0.0, 0.0, pool=pool, owner="a")
    waits = make_checkout("c2", 1.0, pool=pool, owner="b")
    assert hanging(ledger_of([held, waits], 4.0)) == pytest.approx(3.0)
    assert hanging(ledger_of([held], 4.0)) == 0
    # It lent for as long before, so it may be about to go on.
    before = make_checkout("c0", -5.0, -5.0, -0.5, pool=pool, owner="c")
    assert hanging(ledger_of([before, held, waits], 4.0)) == 0
    assert hanging(ledger_of([before, held, waits], 6.0)) == pytest.approx(5.0)


def _threads(number: int, requests: int) -> list[Checkout]:
    """Requests come at once and ask as soon as they have a thread; each then waits for 1 s."""
    made = []
    for one in range(requests):
        asked = 0.01 + one // number
        request = make_request(f"r{one}", 0.0, asked + 1.1)
        made.append(
            make_checkout(
                f"c{one}",
                asked,
                asked + 0.9,
                asked + 0.95,
                request=request,
                owner="AnyIO worker thread",
            )
        )
    return made


def test_requests_that_wait_for_threads_that_wait_for_a_pool_are_seen() -> None:
    assert waiting_threads(ledger_of(_threads(8, 16), 60.0)) == 8
    # All have a thread.
    assert waiting_threads(ledger_of(_threads(16, 16), 60.0)) == 0
    tasks = [replace(c, owner=f"Task-{n}") for n, c in enumerate(_threads(8, 16))]
    assert waiting_threads(ledger_of(tasks, 60.0)) == 0
