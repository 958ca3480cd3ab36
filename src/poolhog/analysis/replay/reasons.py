"""Why a replay deserves no prediction: what was seen in the run that the replay does not know.

A prediction is only as good as the replay that it is based on, and a replay that is like the run
may be so by chance: where something else than a pool made requests wait, it waits as long under
other terms. So each of these is a reason to give none.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.replay.prediction import DOUBTFUL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.replay.prediction import Prediction, Replay


class ReasonKind(StrEnum):
    """What the replay does not know; the ``amount`` of each is told here.

    ``REPLAY_ERROR``: how far the replay is from the run, as a share. ``HANGING``: the seconds since
    a pool last lent or got back a connection. ``UNKNOWN_USE``: the checkouts that timed out, and of
    which nobody knows what they would have done. ``BLOCKED_LOOP``: the seconds for which owners of
    connections could go on and did not. ``THREAD_LIMIT``: the threads that waited at once.
    ``LOCK_WAITS``: the seconds for which statements waited for locks. ``PROCESSOR``: the share of a
    worker's time in which the prediction executes Python. ``TOO_SHORT``: the seconds that requests
    which come by themselves would take in all.
    """

    REPLAY_ERROR = "replay-error"
    HANGING = "hanging"
    UNKNOWN_USE = "unknown-use"
    BLOCKED_LOOP = "blocked-loop"
    THREAD_LIMIT = "thread-limit"
    LOCK_WAITS = "lock-waits"
    PROCESSOR = "processor"
    TOO_SHORT = "too-short"


class Reason(NamedTuple):
    """One reason, and how much of it was seen."""

    kind: ReasonKind
    amount: float


OF_FINDINGS = {
    "starved-loop": ReasonKind.BLOCKED_LOOP,
    "thread-starved": ReasonKind.THREAD_LIMIT,
}
"""Kinds of findings that tell of what no replay knows."""

MUCH = 0.05
"""The share of all use from which on something that the replay does not know matters."""


MUCH_PYTHON = 0.3
"""If Python takes at least this share of a process's time, its processor may be the limit."""

LEAST_MAKESPAN_S = 0.1
"""In less than this, what servers and clients take is no small part of what requests take."""

_MORE = 1.2
"""A process that executes less than so many times as much as it did is no busier."""


def reasons(replayed: Replay, findings: Sequence[Finding]) -> tuple[Reason, ...]:
    """All reasons to give no prediction, each kind once; none if it is deserved.

    ``findings`` are those of the report on the same run.
    """
    found: dict[ReasonKind, Reason] = {}
    for reason in (*_seen(replayed), *_found(findings)):
        found.setdefault(reason.kind, reason)
    return tuple(found[kind] for kind in ReasonKind if kind in found)


def _seen(replayed: Replay) -> Iterator[Reason]:
    limits = replayed.workload.limits
    if limits.hanging:
        yield Reason(ReasonKind.HANGING, limits.hanging)
    if limits.unknown:
        yield Reason(ReasonKind.UNKNOWN_USE, limits.unknown)
    if limits.ready > MUCH * replayed.workload.recorded.lent:
        yield Reason(ReasonKind.BLOCKED_LOOP, limits.ready)
    if limits.locks > MUCH * replayed.workload.recorded.lent:
        yield Reason(ReasonKind.LOCK_WAITS, limits.locks)
    if limits.threads:
        yield Reason(ReasonKind.THREAD_LIMIT, limits.threads)
    if replayed.error > DOUBTFUL:
        yield Reason(ReasonKind.REPLAY_ERROR, replayed.error)


def reasons_of(prediction: Prediction) -> tuple[Reason, ...]:
    """The reasons that lie in the outcome: what is computed outside of checkouts is not known."""
    before, after = prediction.before.running or 0.0, prediction.after.running or 0.0
    if after >= MUCH_PYTHON and after >= _MORE * before:
        return (Reason(ReasonKind.PROCESSOR, after),)
    is_open = prediction.terms.users is None
    if is_open and _is_short(prediction.after.makespan, prediction.before.makespan):
        return (Reason(ReasonKind.TOO_SHORT, prediction.after.makespan),)
    return ()


def _is_short(after: float, before: float) -> bool:
    """Whether what is not recorded is a large part, which was a small one of the time before."""
    is_fifth = after < before / 5 and after < 5 * LEAST_MAKESPAN_S
    return is_fifth or after < LEAST_MAKESPAN_S < before


def _found(findings: Iterable[Finding]) -> Iterator[Reason]:
    for finding in findings:
        kind = OF_FINDINGS.get(finding.kind.name)
        if kind is not None and finding.share > MUCH:
            yield Reason(kind, finding.seconds)
