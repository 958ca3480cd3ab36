"""Findings: typed conclusions about a run, each with its line and its evidence.

A kind of finding is a file of this folder and an entry of ``KINDS``; its words are a row of
``render/findings.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.findings.blocking_checkout import BLOCKING_CHECKOUT
from poolhog.analysis.findings.blocks_others import BLOCKS_OTHERS
from poolhog.analysis.findings.connect_failed import CONNECT_FAILED
from poolhog.analysis.findings.connection_churn import CONNECTION_CHURN
from poolhog.analysis.findings.entry import Example
from poolhog.analysis.findings.finding import (
    LEAST_SHARE,
    AnyKind,
    Finding,
    FindingKind,
    GapKind,
    Severity,
)
from poolhog.analysis.findings.held_after_response import HELD_AFTER_RESPONSE
from poolhog.analysis.findings.held_while_streaming import HELD_WHILE_STREAMING
from poolhog.analysis.findings.lost_write import LOST_WRITE
from poolhog.analysis.findings.many_pools import MANY_POOLS
from poolhog.analysis.findings.nested_checkout import NESTED_CHECKOUT
from poolhog.analysis.findings.never_returned import NEVER_RETURNED
from poolhog.analysis.findings.parked_checkout import PARKED_CHECKOUT
from poolhog.analysis.findings.pool_timeout import POOL_TIMEOUT
from poolhog.analysis.findings.shared_over_fork import SHARED_OVER_FORK
from poolhog.analysis.findings.shared_session import SHARED_SESSION
from poolhog.analysis.findings.starved_loop import STARVED_LOOP
from poolhog.analysis.findings.thread_starved import THREAD_STARVED

if TYPE_CHECKING:
    from poolhog.analysis.thresholds import Threshold

__all__ = [
    "BLOCKING_CHECKOUT",
    "BLOCKS_OTHERS",
    "CONNECTION_CHURN",
    "CONNECT_FAILED",
    "HELD_AFTER_RESPONSE",
    "HELD_WHILE_STREAMING",
    "KINDS",
    "LEAST_SHARE",
    "LOST_WRITE",
    "MANY_POOLS",
    "NESTED_CHECKOUT",
    "NEVER_RETURNED",
    "PARKED_CHECKOUT",
    "POOL_TIMEOUT",
    "SHARED_OVER_FORK",
    "SHARED_SESSION",
    "STARVED_LOOP",
    "THREAD_STARVED",
    "AnyKind",
    "Example",
    "Finding",
    "FindingKind",
    "GapKind",
    "Severity",
    "known_thresholds",
]

KINDS: tuple[AnyKind, ...] = (
    STARVED_LOOP,
    THREAD_STARVED,
    NEVER_RETURNED,
    HELD_AFTER_RESPONSE,
    NESTED_CHECKOUT,
    HELD_WHILE_STREAMING,
    PARKED_CHECKOUT,
    BLOCKS_OTHERS,
    BLOCKING_CHECKOUT,
    CONNECTION_CHURN,
    POOL_TIMEOUT,
    LOST_WRITE,
    SHARED_SESSION,
    SHARED_OVER_FORK,
    MANY_POOLS,
    CONNECT_FAILED,
)
"""All kinds. An instant of a gap counts for the first of them that claims it."""


def known_thresholds() -> tuple[Threshold, ...]:
    """All thresholds that a user can set."""
    return (LEAST_SHARE, *(threshold for kind in KINDS for threshold in kind.thresholds))
