"""How failures read: the kinds of findings about them, and operations that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.findings import CONNECT_FAILED, MANY_POOLS, POOL_TIMEOUT, SHARED_OVER_FORK
from poolhog.model import Activity, OperationKind
from poolhog.render import patches
from poolhog.render.kind_words import Words, by_text, operation
from poolhog.render.words import count, duration, listed, place, site_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.analysis.failures import Failure
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.findings.connect_failed import FailedConnects
    from poolhog.analysis.findings.many_pools import PoolsMade
    from poolhog.analysis.findings.pool_timeout import Holder, TimedOut
    from poolhog.analysis.findings.shared_over_fork import SharedConnections

MOST_HOLDERS = 3
"""The holders of a pool's connections that are named when it timed out."""

MOST_ERRORS = 3
"""Errors that are named; the others are counted."""


def failures_told(failures: Sequence[Failure]) -> str:
    """The operations that failed, by the class of the error and the line; "" if none did."""
    if not failures:
        return ""
    number = sum(failure.count for failure in failures)
    each = [f"{one.count:,} {one.error} ({place(one.site)})" for one in failures]
    return f"{count(number, 'operation')} failed: {listed(each, MOST_ERRORS, 'other')}"


def failures_json(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """The same as documented in ``docs/report.md``."""
    return [
        {"error": one.error, "site": site_json(one.site), "count": one.count} for one in failures
    ]


def _connects(_: Finding, evidence: FailedConnects) -> str:
    told = []
    if evidence.failed:
        failed = _failed(evidence.failed, evidence.connects)
        told.append(f"{failed} ({_errors(evidence.errors)})")
    if evidence.waits:
        waits = count(evidence.waits, "wait")
        told.append(f"{waits} timed out while the pool could not connect")
    text = ", and ".join(told)
    if evidence.crowd:
        text += f". The process had {evidence.crowd} pools of one database: see {MANY_POOLS}"
    return text


def _errors(errors: Mapping[str, float]) -> str:
    ranked = sorted(errors, key=lambda error: (-errors[error], error))
    names = [error or "an error that was not recorded" for error in ranked]
    if len(names) == 1:
        return names[0]
    each = [f"{round(errors[error])} {name}" for error, name in zip(ranked, names, strict=True)]
    return listed(each, MOST_ERRORS, "other")


def _connects_advice(evidence: FailedConnects) -> str:
    said = " ".join(evidence.errors)
    if "too many connections" in said:
        return (
            "Open fewer connections: one engine or pool for the whole process, and pools whose "
            "sizes, in all processes together, stay below the limit of the server and of the role."
        )
    if "authentication failed" in said or "no such" in said:
        return "Correct the user, the password or the database in the URL of the engine or pool."
    if any(words in said for words in _UNANSWERED):
        return "Find out why the server does not answer: its address, its log, the network between."
    return "Look up the exception in the log of the application: poolhog keeps no messages."


_UNANSWERED = ("refused", "unknown host", "no server", "starting", "timed out", "Timeout")


def _pools(_: Finding, evidence: PoolsMade) -> str:
    where = "in one process" if evidence.processes == 1 else "in each of several processes"
    checkouts = count(evidence.checkouts, "checkout")
    text = f"made {evidence.pools:,} pools of one database {where}, for {checkouts}"
    if not evidence.failed:
        return text
    return f"{text}. {_failed(evidence.failed, evidence.connects)} ({_errors(evidence.errors)})"


def _failed(failed: int, connects: int | None) -> str:
    """How many connects failed, and of how many, if all were seen."""
    if connects is None or connects < failed:
        return f"{count(failed, 'connect')} failed"
    return f"{failed:,} of {count(connects, 'connect')} failed"


def _shared(finding: Finding, evidence: SharedConnections) -> str:
    connections = count(evidence.connections, "connection")
    processes = count(evidence.processes, "forked process")
    checkouts = count(finding.checkouts, "checkout")
    return (
        f"used {connections} of a parent process in {processes} ({checkouts}): statements and "
        "answers of several processes get mixed up on one connection"
    )


def _timeout(finding: Finding, evidence: TimedOut) -> str:
    waits = "wait" if finding.checkouts == 1 else "waits"
    longest = duration(evidence.longest)
    text = f"{finding.checkouts:,} {waits} ended without a connection after up to {longest}"
    weights = by_text(evidence.holders, _holder)
    if not weights:
        return text
    times = sum(weights.values())
    ranked = sorted(weights, key=lambda name: (-weights[name], name))[:MOST_HOLDERS]
    holders = "; ".join(f"{name} ({weights[name] / times:.0%})" for name in ranked)
    return f"{text}. The connections were held by {holders}"


def _holder(holder: Holder) -> str:
    return f"{holder.route}, {_doing(holder)}"


def _doing(holder: Holder) -> str:
    busy_with = holder.busy_with
    if busy_with is not None:
        is_statement = busy_with.kind is OperationKind.STATEMENT and busy_with.statement
        return f"busy with {operation(busy_with) if is_statement else busy_with.kind.upper()}"
    asked_for = f"asked for at {place(holder.asked_at)}"
    if holder.is_gone:
        return f"left behind, {asked_for}"
    doing = _SEEN.get(holder.activity, holder.activity) if holder.activity is not None else None
    if holder.at is not None:
        return f"{doing} at {place(holder.at)}"
    if holder.is_outside:
        return f"{doing}, {asked_for}" if doing != holder.activity else asked_for
    return f"{doing or 'between two operations'}, {asked_for}"


_SEEN = {
    Activity.BLOCKING: "blocking the event loop",
    Activity.COMPUTING: "computing in a thread",
    Activity.QUEUED: "waiting for a thread",
}
"""What a holder was seen doing, where the name of that does not say it."""


FAILURES: tuple[Words[Any], ...] = (
    Words(
        kind=POOL_TIMEOUT,
        title="Requests get no connection in time",
        verdict="{checkouts} timed out waiting for a connection at {site}",
        happened="{waits} for a connection timed out ({place})",
        detail=_timeout,
        advice=lambda _: (
            "Fix the code that held the connections; enlarge the pool only if they were busy."
        ),
    ),
    Words(
        kind=CONNECT_FAILED,
        title="Connections cannot be opened",
        verdict="{site}: {detail}",
        happened="{detail}, asked for at {place}",
        detail=_connects,
        advice=_connects_advice,
    ),
    Words(
        kind=MANY_POOLS,
        title="One line makes pool after pool of one database",
        verdict="{site} {detail}",
        happened="One line ({place}) {detail}",
        detail=_pools,
        advice=lambda _: (
            "Make the engine or pool once, when the process starts, and use it for all requests; "
            "where each needs its own (a test with a loop of its own), dispose of it at the end."
        ),
        patch=patches.made_once,
    ),
    Words(
        kind=SHARED_OVER_FORK,
        title="A connection is shared by several processes",
        verdict="{site} {detail}",
        happened="One line ({place}) {detail}",
        detail=_shared,
        advice=lambda _: (
            "Begin each child with connections of its own: `engine.dispose(close=False)` first "
            "thing in it (gunicorn's `post_fork`, Celery's `worker_process_init`, the initializer "
            "of multiprocessing), or make the engine or pool after the fork."
        ),
        patch=patches.after_fork,
    ),
)
"""The words of the kinds that are failures."""
