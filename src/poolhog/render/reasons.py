"""Why there is no prediction, in words and as JSON: one row for each kind of reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.replay.reasons import ReasonKind
from poolhog.render.words import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolhog.analysis.replay.reasons import Reason

WORDS: dict[ReasonKind, Callable[[float], str]] = {
    ReasonKind.HANGING: lambda amount: (
        f"the process hangs: requests wait for a connection, and none was lent or returned for "
        f"{seconds(amount)}"
    ),
    ReasonKind.UNKNOWN_USE: lambda amount: (
        f"{count(round(amount), 'checkout')} timed out, and no other one from the same line got a "
        "connection: what they would do with one is unknown"
    ),
    ReasonKind.BLOCKED_LOOP: lambda amount: (
        f"owners of connections could go on but waited {seconds(amount)} for the event loop or the "
        "interpreter, which the replay does not model"
    ),
    ReasonKind.THREAD_LIMIT: lambda amount: (
        f"{count(round(amount), 'thread')} waited for connections while requests waited for a "
        "thread, and the replay has no limit of threads"
    ),
    ReasonKind.LOCK_WAITS: lambda amount: (
        f"statements waited {seconds(amount)} in the database for locks, which the replay does not "
        "model"
    ),
    ReasonKind.PROCESSOR: lambda amount: (
        f"each worker would execute Python for more than {percent(amount)} of the time, and where "
        "its processor becomes the limit is unknown"
    ),
    ReasonKind.TOO_SHORT: lambda amount: (
        f"all requests would be answered in {seconds(amount)}, of which the unrecorded work of the "
        "server and its clients is a large part"
    ),
    ReasonKind.REPLAY_ERROR: lambda amount: (
        f"the replay of the run as it was differs from the recording by {share_told(amount)}"
    ),
}


def share_told(share: float) -> str:
    """An error as a share, such as ``0.2 %``."""
    return f"{share * 100:.1f} %" if share < 10 else "more than 1000 %"


def no_prediction(reasons: Sequence[Reason]) -> str:
    """The sentence that stands instead of a prediction."""
    return f"No prediction: {'; '.join(WORDS[reason.kind](reason.amount) for reason in reasons)}."


def reasons_json(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    """The reasons as they are documented in ``docs/whatif.md``."""
    return [
        {"kind": kind.value, "amount": amount, "told": WORDS[kind](amount)}
        for kind, amount in reasons
    ]
