"""The JSON of a dump: who holds what, for a program."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from poolhog.analysis.holders import conclusions, holdings
from poolhog.analysis.liveness import written_wall
from poolhog.render.words import site_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolhog.analysis.dump import PoolDump, ProcessDump, Waiting
    from poolhog.analysis.holders import Conclusion, Holding, Part
    from poolhog.model import Checkout, Process, Site


def dump_json(dumps: Sequence[ProcessDump]) -> dict[str, Any]:
    """The dump as documented in ``docs/dump.md``."""
    return {
        "conclusions": [_conclusion_json(one) for one in conclusions(dumps)],
        "processes": [_process_json(dump) for dump in dumps],
    }


def written_at(process: Process) -> datetime:
    """The time of day of the last commit, in this machine's zone."""
    return datetime.fromtimestamp(written_wall(process)).astimezone()


def _conclusion_json(one: Conclusion) -> dict[str, Any]:
    return {
        "pool": one.name,
        "pids": list(one.pids),
        "held": one.held,
        "capacity": one.capacity,
        "is_exhausted": one.is_exhausted,
        "is_deadlock": one.is_deadlock,
        "waiting": one.waiting,
        "longest_wait_s": one.longest_wait,
        "parts": [_part_json(part) for part in one.parts],
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "reason": part.reason.value,
        "site": site_json(part.line),
        "connections": part.connections,
        "longest_s": part.longest,
    }


def _process_json(dump: ProcessDump) -> dict[str, Any]:
    process = dump.process
    of_pools = holdings(dump)
    return {
        "pid": process.pid,
        "argv": list(process.argv),
        "life": dump.liveness.value,
        "written_at": written_at(process).isoformat(),
        "written_age_s": dump.age,
        "is_minimum": dump.is_minimum,
        "dropped": process.dropped,
        "errors": process.errors,
        "pools": [_pool_json(pool, of_pools[pool.pool.id]) for pool in dump.pools],
    }


def _pool_json(pool: PoolDump, holders: Iterable[Holding]) -> dict[str, Any]:
    described = pool.pool
    return {
        "id": described.id,
        "name": described.name,
        "library": described.library,
        "kind": described.kind,
        "size": described.size,
        "max_overflow": described.max_overflow,
        "capacity": described.capacity,
        "held": [held_json(one) for one in holders],
        "waiting": [waiting_json(waiting) for waiting in pool.waiting],
    }


def held_json(holding: Holding) -> dict[str, Any]:
    """A connection that is lent, and who has it."""
    held = holding.held
    last = held.last
    return {
        **_checkout_json(held.checkout),
        "connection": held.checkout.connection,
        "held_s": held.seconds,
        "state": held.state.value if held.state is not None else None,
        "state_s": held.state_seconds,
        "reason": holding.reason.value,
        "line": site_json(holding.line),
        "blocker": held.blocker,
        "in_transaction": held.in_transaction,
        "last_operation": last.kind.value if last is not None else None,
        "last_statement": held.statement,
        "idle_s": held.idle_seconds,
        "stack": _stack_json(held.site),
    }


def waiting_json(waiting: Waiting) -> dict[str, Any]:
    """A request that waits for a connection."""
    return {
        **_checkout_json(waiting.checkout),
        "wait_s": waiting.seconds,
        "operation": waiting.operation.value if waiting.operation is not None else None,
    }


def _checkout_json(checkout: Checkout) -> dict[str, Any]:
    request = checkout.request
    return {
        "checkout": checkout.id,
        "request": None
        if request is None
        else {
            "id": request.id,
            "kind": request.kind,
            "method": request.method,
            "route": request.route,
            "path": request.path,
        },
        "owner": checkout.owner,
        "asked_stack": _stack_json(checkout.site),
    }


def _stack_json(site: Site | None) -> list[dict[str, Any]]:
    return [
        {**(site_json(frame) or {}), "is_application": frame.is_application}
        for frame in (site.stack if site is not None else ())
    ]
