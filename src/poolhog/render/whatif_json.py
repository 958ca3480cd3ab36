"""What ``poolhog whatif`` and the report say of other settings, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from poolhog.render.losses import losses_json
from poolhog.render.reasons import reasons_json
from poolhog.render.whatif import beside_told

if TYPE_CHECKING:
    from poolhog.analysis.replay.formulas import Answers
    from poolhog.analysis.replay.performance import Percentiles, Performance
    from poolhog.analysis.replay.prediction import Replay
    from poolhog.analysis.replay.study import Study, TopFindingWhatIf
    from poolhog.analysis.replay.whatif import WhatIf


def whatif_json(study: Study) -> dict[str, Any]:
    """The study as documented in ``docs/whatif.md``, made of JSON's values only."""
    prediction, over = study.prediction, study.range
    return {
        **losses_json(study.unreadable, study.processes),
        "replay": replay_json(study.replayed),
        "terms": _terms_json(study.terms, study.released),
        "predicted": performance_json(prediction.after) if prediction is not None else None,
        "not_predicted": reasons_json(study.reasons),
        "curve": None
        if over is None or study.reasons
        else [
            {over.name: value, **performance_json(one.after)}
            for value, one in zip(over.values, study.curve, strict=True)
        ],
        "formulas": {
            "recorded": _answers_json(study.before),
            "predicted": _answers_json(study.after) if study.after is not None else None,
        },
    }


def replay_json(replayed: Replay) -> dict[str, Any]:
    """A replay, and how far it is from what was recorded."""
    return {
        "users": replayed.users,
        "is_of_workers": replayed.is_of_workers,
        "unfinished": replayed.workload.unfinished,
        "recorded": performance_json(replayed.recorded),
        "replayed": performance_json(replayed.replayed),
        "error": {
            "throughput": replayed.throughput_error,
            "wait_p95": replayed.wait_error,
            "response_p95": replayed.response_error,
            "makespan": replayed.makespan_error,
        },
        "guessed_locks_s": replayed.guessed_locks,
        "is_doubtful": replayed.is_doubtful,
    }


def beside_json(beside: TopFindingWhatIf) -> dict[str, Any]:
    """The what-if beside a finding."""
    part, prediction = beside.part, beside.prediction
    return {
        "part": None if part is None else {"started_s": part[0], "ended_s": part[1]},
        "replay": replay_json(beside.replayed),
        "predicted": performance_json(prediction.after) if prediction is not None else None,
        "not_predicted": reasons_json(beside.reasons),
        "told": beside_told(beside),
        "curve": [{"pool_size": size, **performance_json(one.after)} for size, one in beside.curve],
    }


def performance_json(performance: Performance) -> dict[str, Any]:
    """The performance of a run, recorded or replayed."""
    return {
        "answers": performance.answers,
        "makespan_s": performance.makespan,
        "requests_per_s": performance.throughput,
        **_percentiles_json("wait", performance.waits),
        **_percentiles_json("response", performance.responses),
        "use": performance.use,
        "checkouts": performance.checkouts,
        "checkouts_per_s": performance.checkouts_per_s,
        "checkouts_per_request": performance.checkouts_each,
        "mean_use_s": performance.mean_use,
        "timeouts": performance.timeouts,
        "running": performance.running,
    }


def _percentiles_json(name: str, spread: Percentiles) -> dict[str, float]:
    return {f"{name}_{part}_s": getattr(spread, part) for part in ("p50", "p95", "p99")}


def _terms_json(terms: WhatIf, released: tuple[str, ...]) -> dict[str, Any]:
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


def _answers_json(answers: Answers) -> dict[str, Any]:
    return {_SECONDS.get(name, name): value for name, value in asdict(answers).items()}
