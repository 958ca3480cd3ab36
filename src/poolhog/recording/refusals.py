"""Why a connection could not be opened, in a few words that hold nothing of the application.

Drivers have one class for nearly all of it (``OperationalError``), and the message names the host,
the user and the database, which do not belong into a trace.
"""

from __future__ import annotations

_BY_STATE = {
    "53300": "too many connections",
    "28P01": "authentication failed",
    "28000": "authentication failed",
    "3D000": "no such database",
    "57P03": "the server is starting or stopping",
}
"""By the SQLSTATE that PostgreSQL's drivers give their exceptions."""

_BY_WORDS = (
    ("too many connections", "too many connections"),
    ("too many clients", "too many connections"),
    ("connection slots", "too many connections"),
    ("no more connections allowed", "too many connections"),
    ("max_user_connections", "too many connections"),
    ("authentication failed", "authentication failed"),
    ("no password supplied", "authentication failed"),
    ("access denied", "authentication failed"),
    ("pg_hba.conf", "authentication failed"),
    ("connection refused", "connection refused"),
    ("connect call failed", "connection refused"),
    ("name or service not known", "unknown host"),
    ("name resolution", "unknown host"),
    ("could not translate host name", "unknown host"),
    ("failed to resolve host", "unknown host"),
    ("nodename nor servname", "unknown host"),
    ("no such file or directory", "no server at the socket"),
    ("starting up", "the server is starting or stopping"),
    ("shutting down", "the server is starting or stopping"),
    ("recovery mode", "the server is starting or stopping"),
    ("timeout", "timed out"),
    ("timed out", "timed out"),
    ("unable to open database file", "unable to open database file"),
    ("role", "no such user"),
    ("database", "no such database"),
)
"""By a part of the message, in lower case; the first counts. The last two need "does not exist"."""

_NEED_MORE = ("role", "database")

REFUSALS = frozenset([*_BY_STATE.values(), *(said for _, said in _BY_WORDS)])
"""All that is said of a refusal."""


def refusal_of(error: BaseException) -> str:
    """What follows the name of the exception, such as ``: too many connections``, or nothing."""
    try:
        said = _refusal(error)
    except Exception:  # whatever an exception of somebody else does when it is looked at
        return ""
    return f": {said}" if said else ""


def _refusal(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state in _BY_STATE:
        return _BY_STATE[state]
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    message = str(error).lower()
    is_missing = "does not exist" in message
    for words, said in _BY_WORDS:
        if words in message and (is_missing or words not in _NEED_MORE):
            return said
    return "timed out" if isinstance(error, TimeoutError) else ""
