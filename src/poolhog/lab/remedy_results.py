"""The results of the remedies, and their form in ``results.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from poolhog.lab.remedy_catalogue import REMEDIES
from poolhog.lab.remedy_names import RemedyName

if TYPE_CHECKING:
    from poolhog.lab.remedy_catalogue import Remedy


@dataclass(frozen=True, slots=True)
class Forecast:
    """A number that poolhog predicts of a remedy from the implicit service's trace alone.

    ``value`` has the unit of the measurement beside it; if it is ``None``, ``reason`` says why.
    """

    value: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BurstOutcome:
    """Simultaneous synchronize requests; ``makespan`` is the seconds until the last answer.

    ``connections`` is the peak number of connections that the server had of the service.
    """

    requests: int
    makespan: float
    errors: int
    connections: int
    predicted: Forecast


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """A closed loop of users, counted by Locust.

    ``answered_per_s`` counts requests that succeeded; ``written_per_s`` counts the updates in the
    trace of that time. ``connections`` is the peak number that the server had of the service.
    """

    users: int
    answered_per_s: float
    failed_per_s: float
    written_per_s: float
    p50: float | None
    p95: float | None
    connections: int
    predicted: Forecast


@dataclass(frozen=True, slots=True)
class Race:
    """Two synchronize requests of one note at once.

    Each reads the note's version and writes the next one. ``answered`` requests got a 200,
    ``refused`` ones a 409; ``kept`` is the version in the database afterwards.
    ``kept_after_retry`` is the version after the refused ones tried again; ``None`` if none was
    refused.
    """

    answered: int
    refused: int
    kept: int
    kept_after_retry: int | None

    @property
    def lost(self) -> int:
        """The number of requests that were answered 200 although their write is lost."""
        return self.answered - self.kept

    @property
    def verdict(self) -> str:
        """The outcome of both requests in a few words."""
        if self.lost:
            return "one lost" if self.lost == 1 else "both lost"
        if self.refused:
            return "one refused" if self.refused == 1 else "both refused"
        return "both kept" if self.kept == 2 else "failed"


@dataclass(frozen=True, slots=True)
class RemedyResult:
    """A remedy's bursts and load, and its races without and with a version check."""

    remedy: Remedy
    bursts: tuple[BurstOutcome, ...]
    load: LoadOutcome
    unchecked: Race
    checked: Race


@dataclass(slots=True)
class RemediesResults:
    """The results of all measured remedies, and why others were skipped.

    ``max_connections`` is the server's limit. Its connections were counted every ``poll_s``
    seconds.
    """

    max_connections: int = 0
    poll_s: float = 0.0
    measured: list[RemedyResult] = field(default_factory=list)
    skipped: dict[RemedyName, str] = field(default_factory=dict)

    def of(self, name: RemedyName) -> RemedyResult | None:
        """The result of a remedy, if it was measured."""
        return next((r for r in self.measured if r.remedy.name is name), None)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Results from what ``as_dict`` returned. Raises ``KeyError`` if a key is missing."""
        return cls(
            max_connections=stored["max_connections"],
            poll_s=stored["poll_interval_s"],
            measured=[_result_from(each) for each in stored["measured"]],
            skipped={RemedyName(each["name"]): each["reason"] for each in stored["skipped"]},
        )

    def as_dict(self) -> dict[str, Any]:
        """The form in ``results.json``, which docs/results.md describes."""
        return {
            "max_connections": self.max_connections,
            "poll_interval_s": self.poll_s,
            "measured": [_result(result) for result in self.measured],
            "skipped": [
                {"name": str(name), "reason": reason} for name, reason in self.skipped.items()
            ],
        }


def _result(result: RemedyResult) -> dict[str, Any]:
    return {
        "name": str(result.remedy.name),
        "number": result.remedy.number,
        "style": str(result.remedy.style),
        "cost": result.remedy.cost,
        "burst": [_burst(burst) for burst in result.bursts],
        "load": _load(result.load),
        "two_at_once": _race(result.unchecked),
        "two_at_once_checked": _race(result.checked),
    }


def _burst(burst: BurstOutcome) -> dict[str, Any]:
    return {
        "requests": burst.requests,
        "makespan_s": round(burst.makespan, 6),
        "errors": burst.errors,
        "server_connections": burst.connections,
        "predicted_s": burst.predicted.value,
        "not_predicted": burst.predicted.reason,
    }


def _load(load: LoadOutcome) -> dict[str, Any]:
    return {
        "users": load.users,
        "answered_per_s": round(load.answered_per_s, 3),
        "failed_per_s": round(load.failed_per_s, 3),
        "written_per_s": round(load.written_per_s, 3),
        "p50_s": load.p50,
        "p95_s": load.p95,
        "server_connections": load.connections,
        "predicted_per_s": load.predicted.value,
        "not_predicted": load.predicted.reason,
    }


def _race(race: Race) -> dict[str, Any]:
    return {
        "outcome": race.verdict,
        "answered": race.answered,
        "refused": race.refused,
        "kept": race.kept,
        "kept_after_retry": race.kept_after_retry,
    }


def _result_from(stored: dict[str, Any]) -> RemedyResult:
    remedy = REMEDIES[stored["number"]]
    load = stored["load"]
    return RemedyResult(
        remedy,
        tuple(_burst_from(burst) for burst in stored["burst"]),
        LoadOutcome(
            users=load["users"],
            answered_per_s=load["answered_per_s"],
            failed_per_s=load["failed_per_s"],
            written_per_s=load["written_per_s"],
            p50=load["p50_s"],
            p95=load["p95_s"],
            connections=load["server_connections"],
            predicted=Forecast(load["predicted_per_s"], load["not_predicted"]),
        ),
        _race_from(stored["two_at_once"]),
        _race_from(stored["two_at_once_checked"]),
    )


def _burst_from(stored: dict[str, Any]) -> BurstOutcome:
    return BurstOutcome(
        requests=stored["requests"],
        makespan=stored["makespan_s"],
        errors=stored["errors"],
        connections=stored["server_connections"],
        predicted=Forecast(stored["predicted_s"], stored["not_predicted"]),
    )


def _race_from(stored: dict[str, Any]) -> Race:
    return Race(stored["answered"], stored["refused"], stored["kept"], stored["kept_after_retry"])
