"""How findings read: the evidence in one or two sentences, and what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from poolhog.analysis.findings.finding import FindingKind
from poolhog.analysis.findings.names import count, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from poolhog.analysis.findings.churn import Churning
    from poolhog.analysis.findings.tally import Entry

MOST_HOLDERS = 3
"""What had a pool's connections when it timed out: so many are told."""


def detail(entry: Entry, churning: Sequence[Churning]) -> str:
    """The evidence; ``churning`` are the pools of the run."""
    if entry.kind is FindingKind.CONNECTION_CHURN:
        return _churn(entry, churning)
    return _DETAILS[entry.kind](entry)


def advice(entry: Entry) -> str:
    """What to do."""
    told = _ADVICE[entry.kind]
    if entry.where.is_dependency and entry.where.site is not None:
        told = told.replace(
            _THE_DEPENDENCY, f'`Depends({entry.where.site.name}, scope="function")`'
        )
    return told


def deadlock_from(capacity: int, depth: int) -> int:
    """The least number of concurrent requests that can wait for each other for ever.

    Each needs ``depth`` connections at once. They are stuck when all connections are held by
    requests that have at most ``depth - 1`` and ask for one more: n * (depth - 1) >= capacity.
    HikariCP's "About Pool Sizing" says the same the other way round: no deadlock from a pool of
    n * (depth - 1) + 1 on.
    """
    return math.ceil(capacity / (depth - 1))


def _parked(entry: Entry) -> str:
    return f"held {duration(entry.whole)} in {_spread(entry)} {_first(entry)}".rstrip()


def _after_response(entry: Entry) -> str:
    told = f"held {duration(entry.whole)} after the response was sent, in {_spread(entry)}"
    return f"{told}, {_first(entry)}"


def _streaming(entry: Entry) -> str:
    sent = "the websocket was open" if _is_websocket(entry) else "the response was being sent"
    return f"held {duration(entry.whole)} while {sent}, in {_spread(entry)}, {_first(entry)}"


def _nested(entry: Entry) -> str:
    text = (
        f"asked for another connection while holding one, {count(entry.checkouts, 'time')}; "
        f"a request had up to {entry.most} at once"
    )
    capacity = entry.pool.capacity
    if capacity is None:
        return text
    stuck = deadlock_from(capacity, entry.most)
    if stuck == 1:
        return f"{text}. The pool has {count(capacity, 'connection')}: it blocks itself"
    return (
        f"{text}. With {count(capacity, 'connection')} in the pool, {stuck} requests at the same "
        "time can block each other until they time out"
    )


def _never_returned(entry: Entry) -> str:
    kept = f"; held for {duration(entry.whole)} after their last use" if entry.whole else ""
    return f"{count(entry.checkouts, 'connection')} {_first(entry)}{kept}"


def _lost_write(entry: Entry) -> str:
    were = "write was" if entry.checkouts == 1 else "writes were"
    return (
        f"{entry.checkouts:,} {were} rolled back that nobody asked to undo and no exception "
        f"explains: `{_first(entry)}`"
    )


def _timeout(entry: Entry) -> str:
    waits = "wait" if entry.checkouts == 1 else "waits"
    longest = duration(entry.longest)
    text = f"{entry.checkouts:,} {waits} ended without a connection after up to {longest}"
    told = sum(entry.notes.values())
    if not told:
        return text
    ranked = sorted(entry.notes.items(), key=lambda note: (-note[1], note[0]))
    holders = "; ".join(f"{name} ({times / told:.0%})" for name, times in ranked[:MOST_HOLDERS])
    return f"{text}. The connections were held by {holders}"


def _starved(entry: Entry) -> str:
    return (
        f"ran for up to {duration(entry.longest)} in one go while others held a connection and "
        f"were ready to go on: {duration(entry.whole)} in {count(entry.checkouts, 'checkout')}"
    )


def _churn(entry: Entry, churning: Sequence[Churning]) -> str:
    pools = [pool for pool in churning if pool.group == entry.group]
    granted, opened = sum(p.granted for p in pools), sum(p.opened for p in pools)
    return (
        f"{opened:,} connections were opened for {count(granted, 'checkout')} of the "
        f"{entry.pool.kind}, which took {duration(entry.seconds)}: "
        f"{duration(entry.seconds / granted)} of each checkout"
    )


def _spread(entry: Entry) -> str:
    """In how many checkouts, and what is usual."""
    checkouts = count(entry.checkouts, "checkout")
    if entry.checkouts == 1:
        return checkouts
    return f"{checkouts} (median {duration(entry.median)}, longest {duration(entry.longest)})"


def _first(entry: Entry) -> str:
    """The evidence that weighs the most."""
    return max(entry.notes, key=lambda note: (entry.notes[note], note), default="")


def _is_websocket(entry: Entry) -> bool:
    return any(route.startswith("WS ") for route in entry.routes)


_DETAILS: Mapping[FindingKind, Callable[[Entry], str]] = {
    FindingKind.PARKED_CHECKOUT: _parked,
    FindingKind.HELD_AFTER_RESPONSE: _after_response,
    FindingKind.HELD_WHILE_STREAMING: _streaming,
    FindingKind.NESTED_CHECKOUT: _nested,
    FindingKind.NEVER_RETURNED: _never_returned,
    FindingKind.LOST_WRITE: _lost_write,
    FindingKind.POOL_TIMEOUT: _timeout,
    FindingKind.STARVED_LOOP: _starved,
}

_THE_DEPENDENCY = '`Depends(…, scope="function")` on the dependency that yields it'
"""What is told of a dependency that is not known."""

_ADVICE: Mapping[FindingKind, str] = {
    FindingKind.PARKED_CHECKOUT: (
        "End the transaction before this line and begin another after it (a block of "
        "`session.begin()`, `engine.begin()` or the pool's own around each part), or do this first."
    ),
    FindingKind.HELD_AFTER_RESPONSE: (
        f"Close the session before the response: {_THE_DEPENDENCY} (FastAPI 0.121 or later), or a "
        "block of `session.begin()` in the endpoint; give background tasks a session of their own."
    ),
    FindingKind.HELD_WHILE_STREAMING: (
        "Read what is needed and end the transaction before the first byte is sent: a block of "
        "`session.begin()`, or a session of its own for each message."
    ),
    FindingKind.NESTED_CHECKOUT: (
        "Hand the session that is open on to this code, or end its transaction before; a larger "
        "pool only moves the limit."
    ),
    FindingKind.NEVER_RETURNED: (
        "Close it whatever happens: `async with` or `with` around the session or connection, "
        "or `try`/`finally`."
    ),
    FindingKind.LOST_WRITE: (
        "Commit: a block of `session.begin()` around it, or `commit()` at its end."
    ),
    FindingKind.POOL_TIMEOUT: (
        "Mend what held the connections; enlarge the pool only if they were busy."
    ),
    FindingKind.CONNECTION_CHURN: (
        "Keep connections: a pool instead of NullPool, a pool_size as large as is usually lent "
        "(connections of the overflow are closed when they come back), a longer recycle time."
    ),
    FindingKind.STARVED_LOOP: (
        "Keep it off the event loop: `await asyncio.to_thread(…)`, a process, or smaller pieces."
    ),
}
