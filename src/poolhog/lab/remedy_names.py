"""The names of the remedies, as they are written on the command line and in ``results.json``."""

from __future__ import annotations

from enum import StrEnum


class RemedyName(StrEnum):
    """A remedy, in the order of the table; the first is the service that is to be cured."""

    IMPLICIT = "implicit"
    EXPLICIT = "explicit"
    PER_QUERY = "per-query"
    COMMIT_BEFORE_CALL = "commit-before-call"
    CLOSE_BEFORE_CALL = "close-before-call"
    TWO_SESSIONS = "two-sessions"
    NO_AUTOBEGIN = "no-autobegin"
    AUTOCOMMIT = "autocommit"
    FUNCTION_SCOPE = "function-scope"
    POOL_OF_50 = "pool-of-50"
    UNLIMITED_OVERFLOW = "unlimited-overflow"
    NULL_POOL = "null-pool"
    PGBOUNCER = "pgbouncer"
    FOUR_WORKERS = "four-workers"
    BACKGROUND_TASK = "background-task"
