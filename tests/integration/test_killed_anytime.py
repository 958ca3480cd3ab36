"""Processes that are killed at any moment: every verb answers of what they left."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from hard_ends import forked, is_recorded, rows, work
from recorded_app import eventually

import poolhog
from poolhog.cli import main

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 60
AT_ONCE = 12
QUERY = "SELECT count(*) AS checkouts FROM checkouts"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The traces of processes that were killed while they worked."""
    directory = tmp_path_factory.mktemp("killed")
    chance = random.Random(1)
    traces = [directory / str(number) for number in range(KILLS)]
    for first in range(0, KILLS, AT_ONCE):
        now = traces[first : first + AT_ONCE]
        children = [forked(lambda trace=trace: work(trace)) for trace in now]  # type: ignore[misc]
        for trace in now:
            eventually(lambda trace=trace: is_recorded(trace))  # type: ignore[misc]
        for child in chance.sample(children, len(children)):
            time.sleep(chance.random() / 10)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return traces


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a verb prints, which succeeds and complains of nothing."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == 0
    assert "poolhog:" not in err
    assert "ot in this" not in out
    return out


def test_every_verb_answers_of_whatever_was_killed(
    killed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = 0
    for number, trace in enumerate(killed):
        report = json.loads(said(capsys, "report", trace, "--json"))
        checkouts = report["totals"]["checkouts"]
        counted += checkouts
        assert checkouts == len(poolhog.open_trace(trace).checkouts)
        assert json.loads(said(capsys, "sql", trace, QUERY, "--json")) == [{"checkouts": checkouts}]
        said(capsys, "export", trace, "--format", "csv", "-o", tmp_path / "out.csv.zip")
        assert rows(tmp_path / "out.csv.zip", "checkouts.csv") == checkouts
        for verb in (("report",), ("report", "--blame"), ("log",), ("timeline",), ("dump",)):
            said(capsys, verb[0], trace, *verb[1:])
        said(capsys, "whatif", trace, "--pool-size", "3")
        said(capsys, "compare", trace, trace)
        if number % 6 == 0:
            said(capsys, "report", trace, "--html", tmp_path / "page.html")
            said(capsys, "timeline", trace, "--svg", tmp_path / "picture.svg")
            for form in ("speedscope", "chrome-trace"):
                said(capsys, "export", trace, "--format", form, "-o", tmp_path / form)
    assert counted > KILLS
