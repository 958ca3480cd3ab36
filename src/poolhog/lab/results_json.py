"""``results.json``: a run's results and predictions in the form that docs/results.md describes."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from poolhog.lab.parameters import TALK, Experiment
from poolhog.render.output import write_whole
from poolhog.render.report import finding_json
from poolhog.render.request_log import event_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from poolhog.lab.parameters import Parameters
    from poolhog.lab.predictions import PredictionCheck
    from poolhog.lab.results import (
        BurstResult,
        Claim,
        Diagnosis,
        LifecycleResult,
        LoadResult,
        Results,
    )


def write_results(results: Results, predictions: Sequence[PredictionCheck], file: Path) -> None:
    """Replace the file as a whole: a reader never sees half of it. Raises ``OutputError``."""
    write_whole(file, json.dumps(results_json(results, predictions), indent=2) + "\n")


def results_json(results: Results, predictions: Sequence[PredictionCheck]) -> dict[str, Any]:
    """The documented form: keys in snake_case, seconds as floats with ``_s``."""
    remedies = results.remedies
    return {
        "complete": results.complete,
        "failure": results.failure,
        "recording": {"dropped": results.dropped, "errors": results.recorder_errors},
        "started_at": results.started_at,
        "versions": results.versions,
        "parameters": _parameters(results.parameters),
        "lifecycle": [_lifecycle(result) for result in results.lifecycle],
        "burst": [_burst(result) for result in results.burst],
        "load": [_load(result) for result in results.load],
        "remedies": remedies.as_dict() if remedies is not None else None,
        "findings": [_diagnosis(diagnosis) for diagnosis in results.diagnoses],
        "predictions": [_prediction(prediction) for prediction in predictions],
        "claims": [_claim(claim, results) for claim in results.claims],
    }


def _parameters(parameters: Parameters) -> dict[str, Any]:
    return {
        "experiments": [str(experiment) for experiment in parameters.experiments],
        "styles": [str(style) for style in parameters.styles],
        "only": [str(name) for name in parameters.only],
        "external_latency_s": parameters.external_latency,
        "external_jitter_s": parameters.external_jitter,
        "external_failure_rate": parameters.external_failure_rate,
        "pool_sizes": {str(e): parameters.pool_size_in(e) for e in TALK},
        "max_overflow": parameters.max_overflow,
        "pool_timeout_s": parameters.pool_timeout,
        "workers": parameters.workers,
        "requests": list(parameters.requests),
        "users": parameters.users,
        "ramp_s": parameters.ramp,
        "settle_s": parameters.settle,
        "measure_s": parameters.window_in(Experiment.LOAD),
        "embedded_database": parameters.database_url is None,
        "url": parameters.url,
    }


def _lifecycle(result: LifecycleResult) -> dict[str, Any]:
    return {
        "style": str(result.style),
        "endpoint": result.endpoint,
        "status": result.status,
        "events": [{"at_s": round(line.at, 6), "what": event_text(line)} for line in result.log],
        "returned_before_response": result.lifecycle.returned_before_response,
        "ended_with": result.lifecycle.ended_with,
        "written": result.written,
    }


def _burst(result: BurstResult) -> dict[str, Any]:
    return {
        "style": str(result.style),
        "requests": result.requests,
        "pool_size": result.pool_size,
        "connections": result.connections,
        "external_latency_s": result.external_latency,
        "makespan_s": round(result.makespan, 6),
        "latencies_s": [round(latency, 6) for latency in result.latencies],
        "wait_s": [round(wait, 6) for wait in result.waits],
        "use_s": [round(use, 6) for use in result.uses],
        "errors": result.errors,
    }


def _load(result: LoadResult) -> dict[str, Any]:
    return {
        "style": str(result.style),
        "users": result.users,
        "pool_size": result.pool_size,
        "workers": result.workers,
        "requests": result.requests,
        "requests_per_s": round(result.requests_per_s, 3),
        "limit_per_s": round(result.limit_per_s, 3),
        "pool_limit_per_s": round(result.pool_limit_per_s, 3),
        "p50_s": round(result.p50, 6),
        "p95_s": round(result.p95, 6),
        "p99_s": round(result.p99, 6),
        "errors": result.errors,
        "recorded_requests": result.recorded_requests,
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "experiment": str(diagnosis.experiment),
        "style": str(diagnosis.style),
        "findings": [finding_json(finding) for finding in diagnosis.findings],
    }


def _claim(claim: Claim, results: Results) -> dict[str, Any]:
    """The claim, with the command that repeats its part in place of the part."""
    made = dataclasses.asdict(claim)
    part = claim.part
    made["repeat"] = None if part is None else part.command(results.parameters)
    del made["part"]
    return made


def _prediction(prediction: PredictionCheck) -> dict[str, Any]:
    return {
        "what": prediction.what,
        "from_trace": prediction.from_trace,
        "quantity": prediction.quantity,
        "predicted": round(prediction.predicted, 6),
        "measured": round(prediction.measured, 6),
        "error": None if prediction.error is None else round(prediction.error, 6),
    }
