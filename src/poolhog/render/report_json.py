"""The report for a program, as documented in ``docs/report.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.model import Outcome
from poolhog.render.findings import advice, detail
from poolhog.render.missing import missing_json
from poolhog.render.unreadable import unreadable_json
from poolhog.render.whatif_json import beside_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.blame import Charge
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.replay.top_finding import TopFindingWhatIf
    from poolhog.analysis.report import PoolUse, Report, RouteUse, Waits
    from poolhog.model import Process, Site


def report_json(report: Report) -> dict[str, Any]:
    """The report of JSON's values only."""
    return {
        "unreadable": unreadable_json(report.unreadable),
        "missing": missing_json(report.processes),
        "processes": [_process(process) for process in report.processes],
        "pools": [_pool(pool) for pool in report.pools],
        "totals": _totals(report),
        "routes": [_route(route) for route in report.routes],
        "findings": [finding_json(finding, report.whatif) for finding in report.findings],
        "blame": [_charge(charge) for charge in report.blame.charges],
    }


def _process(process: Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "parent_pid": process.parent_pid,
        "argv": list(process.argv),
        "began_wall_s": process.began_wall,
        "began_s": process.began,
        "written_s": process.written,
        "finished": process.finished,
        "dropped": process.dropped,
        "recorder_errors": process.errors,
        "sampling_interval_s": process.sampling_interval,
        "poolhog_version": process.poolhog_version,
        "versions": dict(process.versions),
    }


def _pool(use: PoolUse) -> dict[str, Any]:
    pool = use.pool
    return {
        "id": pool.id,
        "pid": pool.process.pid,
        "library": pool.library,
        "kind": pool.kind,
        "name": pool.name,
        "size": pool.size,
        "max_overflow": pool.max_overflow,
        "capacity": pool.capacity,
        "timeout_s": pool.timeout,
        "checkouts": use.checkouts,
        "observed_s": use.observed,
        "peak_lent": use.peak_lent,
        "peak_waiting": use.peak_waiting,
        "saturated_s": use.saturated,
        "saturation": use.saturation,
        "awaited_s": use.awaited,
        "contention": use.contention,
        **_waits(use.waits),
        **_spent(use.spent),
        **_outcomes(use.outcomes),
    }


def _totals(report: Report) -> dict[str, Any]:
    return {
        "checkouts": report.checkouts,
        "requests": report.requests,
        "observed_s": report.observed,
        **_spent(report.spent),
        **_outcomes(report.outcomes),
        "dropped": sum(process.dropped for process in report.processes),
        "recorder_errors": sum(process.errors for process in report.processes),
    }


def _route(route: RouteUse) -> dict[str, Any]:
    return {
        "name": route.name,
        "requests": route.requests,
        "checkouts": route.checkouts,
        **_waits(route.waits),
        **_spent(route.spent),
        "idle_share": route.idle,
        "made_wait_s": route.made_wait,
        **_outcomes(route.outcomes),
    }


def finding_json(finding: Finding, whatif: TopFindingWhatIf | None = None) -> dict[str, Any]:
    """One of the report's findings, with the what-if if that is about it."""
    example = finding.example
    return {
        "kind": finding.kind.name,
        "site": _site(finding.site),
        "routes": list(finding.routes),
        "checkouts": finding.checkouts,
        "seconds": finding.seconds,
        "share": finding.share,
        "made_wait_s": float(finding.made_wait),
        "waiters": list(finding.waiters),
        "detail": detail(finding),
        "advice": advice(finding),
        "awaiting": [_site(site) for site in finding.awaiting],
        "example": {
            "request": example.request,
            "checkout": example.checkout,
            "pid": example.pid,
            "started_s": example.started,
            "ended_s": example.ended,
        },
        "whatif": beside_json(whatif) if whatif is not None and whatif.finding is finding else None,
    }


def _charge(charge: Charge) -> dict[str, Any]:
    return {
        "pool": charge.pool.id,
        "waiting": charge.waiting,
        "holding": charge.holding,
        "state": charge.state,
        "site": _site(charge.site),
        "seconds": charge.seconds,
    }


def _site(site: Site | None) -> dict[str, Any] | None:
    if site is None:
        return None
    return {
        "file": site.file,
        "line": site.line,
        "function": site.function,
        "source": site.source,
    }


def _waits(waits: Waits) -> dict[str, float]:
    return {"wait_p50_s": waits.p50, "wait_p95_s": waits.p95, "wait_max_s": waits.longest}


def _spent(spent: Account) -> dict[str, float]:
    return {
        "wait_s": spent.wait,
        "queueing_s": spent.queueing,
        "connecting_s": spent.connecting,
        "pinging_s": spent.pinging,
        "use_s": spent.use,
        "busy_s": spent.busy,
        "parked_s": spent.parked,
        "running_s": spent.running,
        "ready_s": spent.ready,
    }


_OUTCOMES = {
    "waiting": Outcome.WAITING,
    "open": Outcome.OPEN,
    "returned": Outcome.RETURNED,
    "collected": Outcome.COLLECTED,
    "detached": Outcome.DETACHED,
    "timeouts": Outcome.TIMEOUT,
    "cancelled": Outcome.CANCELLED,
    "errors": Outcome.ERROR,
}


def _outcomes(outcomes: Mapping[Outcome, int]) -> dict[str, int]:
    return {key: outcomes.get(outcome, 0) for key, outcome in _OUTCOMES.items()}
