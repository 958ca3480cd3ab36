"""What would be, for a program, as documented in ``docs/whatif.md``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from poolhog.render.missing import missing_json
from poolhog.render.unreadable import unreadable_json
from poolhog.render.whatif import beside_told

if TYPE_CHECKING:
    from poolhog.analysis.replay.formulas import Answers
    from poolhog.analysis.replay.performance import Percentiles, Performance
    from poolhog.analysis.replay.prediction import Replay
    from poolhog.analysis.replay.study import Study
    from poolhog.analysis.replay.top_finding import TopFindingWhatIf
    from poolhog.analysis.replay.whatif import WhatIf


def whatif_json(study: Study) -> dict[str, Any]:
    """The study of JSON's values only."""
    prediction, over = study.prediction, study.range
    return {
        "unreadable": unreadable_json(study.unreadable),
        "missing": missing_json(study.processes),
        "replay": replay_json(study.replayed),
        "terms": _terms(study.terms, study.released),
        "predicted": performance_json(prediction.after) if prediction is not None else None,
        "curve": None
        if over is None
        else [
            {over.name: value, **performance_json(one.after)}
            for value, one in zip(over.values, study.curve, strict=True)
        ],
        "formulas": {
            "recorded": _answers(study.before),
            "predicted": _answers(study.after) if study.after is not None else None,
        },
    }


def replay_json(replayed: Replay) -> dict[str, Any]:
    """A replay, and how far it is from what was recorded."""
    return {
        "users": replayed.users,
        "unfinished": replayed.workload.unfinished,
        "recorded": performance_json(replayed.recorded),
        "replayed": performance_json(replayed.replayed),
        "error": {
            "throughput": replayed.throughput_error,
            "wait_p95": replayed.wait_error,
            "response_p95": replayed.response_error,
            "makespan": replayed.makespan_error,
        },
        "is_doubtful": replayed.is_doubtful,
    }


def beside_json(beside: TopFindingWhatIf) -> dict[str, Any]:
    """The what-if beside a finding."""
    part = beside.part
    return {
        "part": None if part is None else {"started_s": part[0], "ended_s": part[1]},
        "replay": replay_json(beside.replayed),
        "predicted": performance_json(beside.prediction.after),
        "told": beside_told(beside),
        "curve": [{"pool_size": size, **performance_json(one.after)} for size, one in beside.curve],
    }


def performance_json(performance: Performance) -> dict[str, Any]:
    """What a run came to."""
    return {
        "answers": performance.answers,
        "makespan_s": performance.makespan,
        "requests_per_s": performance.throughput,
        **_spread("wait", performance.waits),
        **_spread("response", performance.responses),
        "use": performance.use,
        "checkouts": performance.checkouts,
        "checkouts_per_s": performance.checkouts_per_s,
        "checkouts_per_request": performance.checkouts_each,
        "mean_use_s": performance.mean_use,
        "timeouts": performance.timeouts,
        "running": performance.running,
    }


def _spread(name: str, spread: Percentiles) -> dict[str, float]:
    return {
        f"{name}_p50_s": spread.p50,
        f"{name}_p95_s": spread.p95,
        f"{name}_p99_s": spread.p99,
    }


def _terms(terms: WhatIf, released: tuple[str, ...]) -> dict[str, Any]:
    return {
        "release": list(released),
        "pool_size": terms.pool_size,
        "max_overflow": terms.max_overflow,
        "workers": terms.workers,
        "rate": terms.rate,
        "external_latency": terms.external_latency,
        "users": terms.users,
        "think_s": terms.think,
    }


_SECONDS = {"mean_use": "mean_use_s", "wait": "wait_target_s", "total": "connections_in_total"}


def _answers(answers: Answers) -> dict[str, Any]:
    return {_SECONDS.get(name, name): value for name, value in asdict(answers).items()}
