"""How findings read: a row of words for each kind, for the terminal, the page, and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.findings import (
    BLOCKING_CHECKOUT,
    BLOCKS_OTHERS,
    CONNECTION_CHURN,
    HELD_AFTER_RESPONSE,
    HELD_WHILE_STREAMING,
    LOST_WRITE,
    NESTED_CHECKOUT,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    SHARED_SESSION,
    STARVED_LOOP,
    THREAD_STARVED,
    Severity,
)
from poolhog.render import patches
from poolhog.render.advice import never_returned_advice, parked_advice, streaming_advice
from poolhog.render.failures import FAILURES
from poolhog.render.kind_words import Words, heaviest, operation
from poolhog.render.words import abbreviated, count, duration, place, seconds

if TYPE_CHECKING:
    from poolhog.analysis.findings import Finding
    from poolhog.analysis.findings.blocking_checkout import BlockingWaits
    from poolhog.analysis.findings.blocks_others import BlockedOthers
    from poolhog.analysis.findings.connection_churn import Churn
    from poolhog.analysis.findings.entry import Spread
    from poolhog.analysis.findings.held_after_response import AfterResponse, Kept
    from poolhog.analysis.findings.held_while_streaming import WhileStreaming
    from poolhog.analysis.findings.lost_write import LostWrites
    from poolhog.analysis.findings.nested_checkout import NestedCheckouts
    from poolhog.analysis.findings.never_returned import Fate, NotReturned
    from poolhog.analysis.findings.parked_checkout import Between, ParkedGaps
    from poolhog.analysis.findings.shared_session import Clash, Clashes
    from poolhog.analysis.findings.starved_loop import InOneGo
    from poolhog.analysis.findings.thread_starved import NoThread

MUCH_ESTIMATED = 0.2
"""The part of a finding's seconds from which on an estimate is said to be one."""


def detail(finding: Finding) -> str:
    """The evidence of a finding in one or two sentences, without a full stop."""
    return WORDS[finding.kind.name].detail(finding, finding.evidence)


def advice(finding: Finding) -> str:
    """What to do about a finding."""
    return WORDS[finding.kind.name].advice(finding.evidence)


def at_start_told(finding: Finding) -> str:
    """What a sentence about time ends with if all of it was start-up code."""
    return ", at start-up, before the first request" if finding.is_at_start else ""


def besides(finding: Finding) -> str:
    """What the verdict has to add: that some waited in vain, or how much is estimated."""
    told = ""
    if finding.severity is Severity.DEADLOCK:
        told += " Some waited in vain: such requests block each other."
    if finding.estimated >= MUCH_ESTIMATED * finding.seconds > 0:
        estimated = seconds(finding.estimated)
        told += f" Of this, {estimated} are estimated: no sample fell into them."
    return told


def _parked(finding: Finding, evidence: ParkedGaps) -> str:
    where = heaviest(evidence.between, _between)
    spread = _in_checkouts(finding, evidence.spread)
    return f"held {duration(finding.seconds)} in {spread} {where}".rstrip()


def _between(gap: Between) -> str:
    before = operation(gap.before) if gap.before is not None else "its checkout"
    after = operation(gap.after) if gap.after is not None else "its return"
    computing = ", while it computed in a thread" if gap.is_computing else ""
    return f"between {before} and {after}{computing}"


def _blocks(finding: Finding, evidence: BlockedOthers) -> str:
    statement = heaviest(evidence.statements, lambda s: abbreviated(s.statement or "BEGIN"))
    kinds = len({one.statement for one in evidence.statements})
    others = f" and {count(kinds - 1, 'other statement')}" if kinds > 1 else ""
    lock = "an advisory lock" if evidence.is_advisory else "a lock"
    tables = f" on {', '.join(evidence.tables)}" if evidence.tables else ""
    waited = f"`{statement}`{others} waited {duration(finding.seconds)} for {lock}{tables}"
    held = f"that {count(finding.checkouts, 'checkout')} held at this line"
    return f"{waited} {held}; {_source(evidence)}"


def _source(evidence: BlockedOthers) -> str:
    """Whether it is known or inferred."""
    guessed = evidence.seconds - evidence.known
    if round(guessed, 3) <= 0:
        return "the database said so"
    if round(evidence.known, 3) <= 0:
        return "this is inferred from the times at which statements and transactions ended"
    return f"the database said so of {duration(evidence.known)}, the rest is inferred"


def _blocks_advice(evidence: BlockedOthers) -> str:
    told = (
        "Do this before the statement that takes the lock, or after the commit: lock, change and "
        "commit without waiting for anything in between"
    )
    if evidence.known < evidence.seconds / 2:
        told += ". To know instead of inferring, record with `poolhog run --watch-locks URL`"
    return f"{told}."


def _after_response(finding: Finding, evidence: AfterResponse) -> str:
    held = f"held {duration(finding.seconds)} after the response was sent"
    spread = _in_checkouts(finding, evidence.spread)
    return f"{held}, in {spread}, {heaviest(evidence.kept, _kept)}"


def _kept(kept: Kept) -> str:
    parts = []
    if kept.dependency is not None:
        parts.append(f"by the dependency `{kept.dependency}`")
    if kept.in_background:
        parts.append("while background tasks ran")
    return ", ".join([*parts, f"asked for at {place(kept.asked_at)}"])


def _after_response_advice(evidence: AfterResponse) -> str:
    depends = '`Depends(…, scope="function")` on the dependency that yields it'
    if evidence.dependency is not None:
        depends = f'`Depends({evidence.dependency}, scope="function")`'
    return (
        f"Close the session before the response: {depends} (FastAPI 0.121 or later), or a "
        "block of `session.begin()` in the endpoint; give background tasks a session of their own."
    )


def _streaming(finding: Finding, evidence: WhileStreaming) -> str:
    is_websocket = any(route.startswith("WS ") for route in finding.routes)
    sent = "the websocket was open" if is_websocket else "the response was being sent"
    asked = heaviest(evidence.asked_at, lambda asked: f"asked for at {place(asked.site)}")
    spread = _in_checkouts(finding, evidence.spread)
    return f"held {duration(finding.seconds)} while {sent}, in {spread}, {asked}"


def _nested(finding: Finding, evidence: NestedCheckouts) -> str:
    text = (
        f"asked for another connection while holding one, {count(finding.checkouts, 'time')}; "
        f"a request had up to {evidence.depth} at once"
    )
    if evidence.capacity is None:
        return text
    if evidence.is_stuck:
        text += ". Some waited for it in vain: until the pool's timeout, or to the end"
    connections = count(evidence.capacity, "connection")
    if evidence.deadlock_from == 1:
        return f"{text}. The pool has {connections}: it blocks itself"
    return (
        f"{text}. With {connections} in the pool, {evidence.deadlock_from} requests at the same "
        "time can block each other until they time out"
    )


def _never_returned(finding: Finding, evidence: NotReturned) -> str:
    fate = heaviest(evidence.fates, _fate)
    held = f"; held for {duration(finding.seconds)} after their last use"
    return f"{count(finding.checkouts, 'connection')} {fate}{held if finding.seconds else ''}"


def _fate(fate: Fate) -> str:
    if fate.job is not None:
        return f"stayed open: `{fate.job}` returned without closing its session"
    return "came back by the garbage collector only" if fate.is_collected else "did not come back"


def _lost_write(finding: Finding, evidence: LostWrites) -> str:
    were = "write was" if finding.checkouts == 1 else "writes were"
    statement = heaviest(evidence.statements, abbreviated)
    return (
        f"{finding.checkouts:,} {were} silently rolled back (`{statement}`): no commit, no "
        "rollback call, no exception"
    )


def _shared(finding: Finding, evidence: Clashes) -> str:
    times = count(finding.checkouts, "time")
    return f"two tasks used one connection at once, {times}: {heaviest(evidence.lines, _clash)}"


def _clash(clash: Clash) -> str:
    if clash.using == clash.wanting:
        return f"both at {place(clash.using)}"
    return f"{place(clash.wanting)} while {place(clash.using)} was not done"


def _churn(finding: Finding, evidence: Churn) -> str:
    return (
        f"{evidence.opened:,} connections were opened for {count(evidence.granted, 'checkout')} of "
        f"the {evidence.pool}, which took {duration(finding.seconds)}: "
        f"{duration(finding.seconds / evidence.granted)} of each checkout"
    )


def _starved(finding: Finding, evidence: InOneGo) -> str:
    return (
        f"kept the event loop for up to {duration(evidence.longest)} in one go, so that nothing "
        f"else could go on: connections were held for {duration(finding.seconds)} meanwhile, in "
        f"{count(finding.checkouts, 'checkout')}"
    )


def _blocking_waits(finding: Finding, evidence: BlockingWaits) -> str:
    waits = f"{count(finding.checkouts, 'wait')} of up to {duration(evidence.longest)}"
    return (
        f"{waits} for a connection of a synchronous pool ({evidence.pool}), on the event loop's "
        "thread: whoever holds one cannot give it back if that needs the loop"
    )


def _no_thread(finding: Finding, evidence: NoThread) -> str:
    held = f"held {duration(finding.seconds)} in {_in_checkouts(finding, evidence.spread)}"
    text = f"{held} while waiting for a thread: all of them were in use"
    if not evidence.waiting:
        return text
    return f"{text}, {evidence.waiting} by work that waited for a connection of this pool"


def _in_checkouts(finding: Finding, spread: Spread) -> str:
    """In how many checkouts, and for how long in one of them."""
    checkouts = count(finding.checkouts, "checkout")
    if finding.checkouts == 1:
        return checkouts
    median, longest = duration(spread.median), duration(spread.longest)
    return f"{checkouts} (median {median}, longest {longest})"


# The evidence's type differs from row to row, and is checked where each row is made.
_ROWS: tuple[Words[Any], ...] = (
    Words(
        kind=PARKED_CHECKOUT,
        title="Connections are held while something else is awaited",
        verdict="{site} held connections for {seconds} without using them",
        spent="was spent waiting {what}, not for the database",
        detail=_parked,
        advice=lambda evidence: parked_advice(evidence.circumstances),
        patch=patches.parked,
    ),
    Words(
        kind=BLOCKS_OTHERS,
        title="A lock is held while something else is done, and others wait for it",
        verdict="{site} made others wait {seconds} in the database for a lock",
        spent="was spent waiting in the database for a lock that was held during {what}",
        detail=_blocks,
        advice=_blocks_advice,
    ),
    Words(
        kind=HELD_AFTER_RESPONSE,
        title="Connections are held after the response was sent",
        verdict="{site} held connections for {seconds} after the response",
        spent="was spent after the response had been sent ({place})",
        detail=_after_response,
        advice=_after_response_advice,
        patch=patches.after_response,
    ),
    Words(
        kind=HELD_WHILE_STREAMING,
        title="Connections are held while the response is being sent",
        verdict="{site} held connections for {seconds} while it streamed",
        spent="was spent while a response was being sent ({place})",
        detail=_streaming,
        advice=lambda evidence: streaming_advice(evidence.asked_at),
        patch=patches.streaming,
    ),
    Words(
        kind=NESTED_CHECKOUT,
        title="A second connection is asked for while one is held",
        verdict="{site} asked for a second connection while it held one, for {seconds}",
        spent="was spent waiting for a second connection while holding one ({place})",
        happened="{times} a request asked for a second connection while holding one ({place})",
        detail=_nested,
        advice=lambda _: (
            "Hand the session that is open on to this code, or end its transaction before; a "
            "larger pool only moves the limit."
        ),
    ),
    Words(
        kind=NEVER_RETURNED,
        title="Connections are not given back",
        verdict="{site} did not return its connections for {seconds}",
        spent="was spent on connections that nobody gave back ({place})",
        happened="{connections} did not come back ({place})",
        detail=_never_returned,
        advice=lambda evidence: never_returned_advice(evidence.fates),
        patch=patches.never_returned,
    ),
    Words(
        kind=LOST_WRITE,
        title="Writes are rolled back because nobody commits",
        verdict="{site} wrote what was rolled back, because nobody committed it",
        happened="{writes} rolled back because nobody committed ({place})",
        detail=_lost_write,
        advice=lambda _: (
            "Commit: a block of `session.begin()` around it, or `commit()` at its end."
        ),
        patch=patches.lost_write,
    ),
    Words(
        kind=SHARED_SESSION,
        title="Two tasks use one session at the same time",
        verdict="{site} lets two tasks use one session at the same time",
        happened="{times} two tasks used one session at the same time ({place})",
        detail=_shared,
        advice=lambda _: (
            "Give each task a session of its own (`async with async_session() as session:` inside "
            "of the task), or await one call after the other: a session, and a connection, does "
            "one thing at a time."
        ),
    ),
    Words(
        kind=CONNECTION_CHURN,
        title="Connections are opened again and again",
        verdict="{site} opened connections anew for {seconds}",
        spent="was spent on opening connections instead of keeping them",
        detail=_churn,
        advice=lambda _: (
            "Keep connections: a pool instead of NullPool, a pool_size as large as is usually lent "
            "(connections of the overflow are closed when they come back), a longer recycle time."
        ),
    ),
    Words(
        kind=BLOCKING_CHECKOUT,
        title="The event loop waits for a connection",
        verdict="{site} blocked the event loop for {seconds} to wait for a connection",
        spent="was lost because the event loop waited for a connection ({place})",
        detail=_blocking_waits,
        advice=lambda _: (
            "Use the asynchronous engine or pool here, or do this in a thread: `def` instead of "
            "`async def`, or `await asyncio.to_thread(…)`. A larger pool only moves the limit."
        ),
    ),
    Words(
        kind=THREAD_STARVED,
        title="Connections are held while their owners wait for a thread",
        verdict="{site} held connections for {seconds} while it waited for a thread",
        spent="was spent waiting for a thread ({place})",
        detail=_no_thread,
        advice=lambda _: (
            "Have no more threads than connections (anyio: `current_default_thread_limiter()."
            "total_tokens`), or give the connection back in the thread that used it: close the "
            "session or end its transaction in the endpoint."
        ),
        patch=patches.thread_starved,
    ),
    Words(
        kind=STARVED_LOOP,
        title="Something keeps the owners of connections from running",
        verdict="{site} blocked the event loop for {seconds} of held connections",
        spent="was lost because {call} kept everything else from running",
        detail=_starved,
        advice=lambda _: (
            "Keep it off the event loop: `await asyncio.to_thread(…)`, a process, or smaller "
            "pieces."
        ),
        patch=patches.starved,
    ),
    *FAILURES,
)

WORDS: dict[str, Words[Any]] = {words.kind.name: words for words in _ROWS}
"""The words of each kind, by its name."""
