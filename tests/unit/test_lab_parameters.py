from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from poolhog.errors import PoolhogError
from poolhog.lab.parameters import COMPARED_STYLES, TALK_STYLES, Experiment, Parameters
from poolhog.lab.service.settings import Style


def parameters(**chosen: object) -> Parameters:
    return dataclasses.replace(Parameters(output=Path("out")), **chosen)  # type: ignore[arg-type]  # that is what is tested


def test_the_talk_is_the_default() -> None:
    given = parameters()
    assert given.pool_size_in(Experiment.BURST) == 5
    assert given.connections_in(Experiment.LOAD) == 10
    assert given.styles_in(Experiment.LOAD) == COMPARED_STYLES
    assert given.styles_in(Experiment.LIFECYCLE) == TALK_STYLES
    assert given.users / given.external_latency == 200


def test_what_is_chosen_holds_for_every_experiment() -> None:
    given = parameters(pool_size=3, max_overflow=2, workers=2, styles=(Style.EXPLICIT,))
    assert {given.connections_in(experiment) for experiment in Experiment} == {10}
    assert {given.styles_in(experiment) for experiment in Experiment} == {(Style.EXPLICIT,)}


def test_a_quick_run_is_smaller_and_keeps_the_limit_of_the_talk() -> None:
    quick = parameters().quick()
    assert quick.users < parameters().users
    assert quick.users / quick.external_latency == 200


def test_the_measurement_starts_between_two_waves() -> None:
    given = parameters(external_latency=4.0)
    assert given.settle % given.external_latency == given.external_latency / 2


def test_the_measurement_has_whole_waves() -> None:
    assert parameters(external_latency=5.0, measure=20.0).window_in(Experiment.LOAD) == 20.0
    assert parameters(external_latency=3.0, measure=4.0).window_in(Experiment.LOAD) == 6.0
    assert parameters(external_latency=0.1, measure=0.3).window_in(
        Experiment.LOAD
    ) == pytest.approx(0.3)


def test_a_remedy_is_measured_shorter_than_a_style_unless_told_otherwise() -> None:
    assert parameters().window_in(Experiment.LOAD) == 20.0
    assert parameters().window_in(Experiment.REMEDIES) == 10.0
    assert parameters(measure=15.0).window_in(Experiment.REMEDIES) == 15.0


def test_remedies_are_not_part_of_the_talk() -> None:
    assert Experiment.REMEDIES not in parameters().experiments


def test_the_service_waits_for_the_external_api_however_short_it_is() -> None:
    assert parameters(external_latency=0.001).external_timeout >= 30
    assert parameters(external_latency=60.0).external_timeout > 2 * 60


def test_the_embedded_server_has_an_end_of_connections() -> None:
    with pytest.raises(PoolhogError, match="make 400 connections"):
        parameters(pool_size=200, workers=2)
    foreign = parameters(database_url="postgresql://localhost/x", pool_size=200, workers=2)
    assert foreign.connections_in(Experiment.BURST) == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"users": 0},
        {"users": -1},
        {"external_latency": 0.0},
        {"external_latency": float("nan")},
        {"external_latency": float("inf")},
        {"external_jitter": -0.1},
        {"external_jitter": 6.0},
        {"external_failure_rate": 1.5},
        {"pool_size": 0},
        {"max_overflow": -1},
        {"pool_timeout": 0.0},
        {"workers": 0},
        {"requests": (5, 0)},
        {"ramp": 0.0},
        {"measure": -1.0},
        {"port": -1},
        {"port": 70_000},
        {"max_overflow": 10**20},
        {"users": 10**7},
    ],
)
def test_a_value_that_makes_no_sense_is_named_by_its_option(wrong: dict[str, object]) -> None:
    with pytest.raises(PoolhogError) as caught:
        parameters(**wrong)
    option = "--" + next(iter(wrong)).replace("_", "-")
    assert str(caught.value).startswith(option)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
