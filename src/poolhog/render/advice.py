"""What to do about a held connection, by what was awaited and how the code holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.findings.circumstances import Awaited, Circumstances, Style
from poolhog.render.words import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolhog.analysis.findings.held_while_streaming import AskedAt
    from poolhog.analysis.findings.never_returned import Fate

_OUT_OF_IT = "before the transaction begins or after it has ended"

_INSTEAD: Mapping[Awaited, str] = {
    Awaited.CALL: f"Call {{library}} {_OUT_OF_IT}.",
    Awaited.SLEEP: "Hold no connection while you sleep, poll or retry.",
    Awaited.LOCK: (
        "Take the lock, or wait for the event, before you ask for a connection: whoever waits "
        "for it then holds none."
    ),
    Awaited.DRIVER_LOCK: (
        "This waits for a lock inside of {library}: the connection is already in use, by this "
        "task or another. Read all rows before the next statement, or use a second connection "
        "for that; one connection does one thing at a time."
    ),
    Awaited.THREAD: f"Leave work to a thread {_OUT_OF_IT}: it may queue for a thread as well.",
    Awaited.QUEUE: f"Wait for the queue or stream {_OUT_OF_IT}.",
    Awaited.SUBPROCESS: f"Run the program {_OUT_OF_IT}.",
    Awaited.COMPUTATION: f"Compute it {_OUT_OF_IT}.",
    Awaited.POOL: (
        "Give this connection back before you ask the other pool, or ask the other pool first: "
        "requests that hold one and wait for the other block each other."
    ),
    Awaited.DATABASE: f"Use the other connection {_OUT_OF_IT} on this one.",
    Awaited.LISTENER: (
        "Open a connection of its own, outside of the pool, to LISTEN (such as "
        "`asyncpg.connect(…)`): it is held for as long as it listens."
    ),
    Awaited.TASKS: (
        f"Await these tasks {_OUT_OF_IT}; one that needs the database opens a session of its own."
    ),
    Awaited.MESSAGE: "Hold no connection while you wait for a message: open a session for each.",
    Awaited.UNKNOWN: f"Do what this line waits for {_OUT_OF_IT}.",
}

_RELEASE: Mapping[Style, str] = {
    Style.DEPENDENCY: (
        "The dependency `{name}` holds the connection until the request is over: commit (or roll "
        "back) its session before this line; the next statement gets a connection again."
    ),
    Style.MIDDLEWARE: (
        "This middleware holds the connection for as long as the whole request takes: end its "
        "transaction before it calls the application."
    ),
    Style.BEGIN: (
        "Close the block of `begin()` ({place}) before this line, and open another one after it."
    ),
    Style.ACQUIRE: (
        "Leave the block that got the connection ({place}) before this line, and get another "
        "connection after it."
    ),
    Style.LAZY_LOAD: (
        "Loading an attribute got the connection ({place}): load it with the query "
        "(`selectinload`), and commit or close the session before this line."
    ),
    Style.SESSION: (
        "`session.commit()` (or `rollback()`, if it only read) before this line gives the "
        "connection back; the next statement gets one again."
    ),
}

_ALONE = frozenset([Awaited.LISTENER, Awaited.DRIVER_LOCK])
"""What is wrong however the connection is held."""


def parked_advice(found: Mapping[Circumstances, float]) -> str:
    """What to do about a connection that is held while something else is awaited."""
    one = _heaviest(found)
    if one is None:
        return f"{_INSTEAD[Awaited.UNKNOWN]} {_RELEASE[Style.SESSION]}"
    if one.style is Style.MIDDLEWARE:
        return _released(one)
    library = f"`{one.library}`" if one.library is not None else "the other service"
    instead = _INSTEAD[one.awaited].format(library=library)
    return instead if one.awaited in _ALONE else f"{instead} {_released(one)}"


_STREAM_BY: Mapping[Style, str] = {
    Style.DEPENDENCY: (
        "Read what is needed before the first byte is sent, and close the session then: "
        '`Depends({name}, scope="function")` (FastAPI 0.121 or later), or `commit()` before the '
        "`return`."
    ),
    Style.MIDDLEWARE: (
        "Read what is needed before the first byte is sent. The middleware holds the connection "
        "until the stream is over: end its transaction before it calls the application."
    ),
    Style.BEGIN: (
        "Read what is needed, and close the block of `begin()` ({place}) before the first byte is "
        "sent."
    ),
    Style.ACQUIRE: (
        "Read what is needed, and leave the block that got the connection ({place}) before the "
        "first byte is sent."
    ),
    Style.LAZY_LOAD: (
        "Load the attributes with the query (`selectinload`; {place} got the connection), and "
        "close the session before the first byte is sent."
    ),
    Style.SESSION: (
        "Read what is needed, and commit or close the session before the first byte is sent."
    ),
}
_FOR_EACH_SESSION = "Open a session for each part that needs one, not one for the whole stream."
_FOR_EACH_CONNECTION = (
    "Get a connection for each part that needs one, not one for the whole stream."
)


def streaming_advice(asked_at: Mapping[AskedAt, float]) -> str:
    """What to do about a connection that is held while a response is sent."""
    asked = max(asked_at, key=lambda one: asked_at[one], default=None)
    found = asked.circumstances if asked is not None else None
    if asked is None or found is None:
        return _STREAM_BY[Style.SESSION]
    if found.awaited is Awaited.LISTENER:
        return _INSTEAD[Awaited.LISTENER]
    if found.awaited is Awaited.MESSAGE:
        return _INSTEAD[Awaited.MESSAGE]
    if asked.uses_it:
        return _FOR_EACH_CONNECTION if found.style is Style.ACQUIRE else _FOR_EACH_SESSION
    return _said(_STREAM_BY[found.style], found)


def never_returned_advice(fates: Mapping[Fate, float]) -> str:
    """What to do about connections that nobody gave back."""
    fate = max(fates, key=lambda one: fates[one], default=None)
    if fate is None:
        return _CLOSE
    if fate.is_shared:
        return (
            "Two tasks used its session at the same time, and then it cannot be closed: give each "
            "task a session of its own."
        )
    if fate.job is not None:
        return (
            "The job is over, and its thread keeps the connection: close the session at the end of "
            "each job, whatever happens (`with Session() as session:`; of a `scoped_session`, "
            "`remove()` in a `finally`)."
        )
    if fate.style is Style.ACQUIRE:
        return (
            "Give it back whatever happens: `async with` or `with` around what gets the "
            "connection, or its release in a `finally`."
        )
    return _CLOSE


_CLOSE = (
    "Close it whatever happens: `async with` or `with` around the session or connection, or "
    "`try`/`finally`."
)


def _released(one: Circumstances) -> str:
    return _said(_RELEASE[one.style], one)


def _said(text: str, one: Circumstances) -> str:
    name = one.held_by.name if one.held_by is not None else "…"
    return text.format(name=name, place=place(one.held_by))


def _heaviest(found: Mapping[Circumstances, float]) -> Circumstances | None:
    return max(found, key=lambda one: found[one], default=None)
