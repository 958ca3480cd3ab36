"""What a run of the lab remembers, and how it is looked up."""

from __future__ import annotations

from dataclasses import replace

from factories import PROCESS
from test_lab_claims import burst, get, results

from poolhog.lab.service.settings import Style
from poolhog.model import OperationKind


def test_the_latest_losses_of_each_process_count_once() -> None:
    run = results()
    other = replace(PROCESS, pid=PROCESS.pid + 1, dropped=5)
    run.note_losses(1, [replace(PROCESS, dropped=1, errors=2), other])
    run.note_losses(1, [replace(PROCESS, dropped=3, errors=2)])
    assert (run.dropped, run.recorder_errors) == (8, 2)
    run.note_losses(2, [replace(PROCESS, dropped=1)])
    assert run.dropped == 9


def test_the_largest_burst_of_each_style_is_found() -> None:
    small = burst(Style.IMPLICIT, 5, 5.0, 5.0)
    large = [burst(Style.IMPLICIT, 10, 10.0, 5.0), burst(Style.EXPLICIT, 10, 5.0, 0.0)]
    assert results(burst=[small, *large]).largest_bursts == large


def test_a_get_that_has_nothing_to_commit_is_not_another_one() -> None:
    lives = [
        get(style, 0.9, OperationKind.ROLLBACK)
        for style in (Style.IMPLICIT, Style.IMPLICIT_FORGOTTEN_COMMIT)
    ]
    posts = [replace(life, endpoint="POST /notes/{note_id}/synchronize") for life in lives]
    run = results(lifecycle=[*lives, *posts])
    assert run.distinct_gets == lives[:1]
    assert run.lifecycle_of(Style.IMPLICIT_FORGOTTEN_COMMIT, "POST") == posts[1]


def test_a_run_is_empty_until_something_was_measured() -> None:
    assert results().is_empty
    assert not results(burst=[burst(Style.IMPLICIT, 5, 5.0, 5.0)]).is_empty
