"""Advice as code: a change of a finding's line, whose lines begin with their sign."""

from __future__ import annotations


def _with(source: str) -> str:
    """Return how a block begins in code that has such a line."""
    return "async with" if "await " in source or "async " in source else "with"


def parked(source: str) -> str:
    """Leave the transaction around the line."""
    block = f"{_with(source)} session.begin():"
    return (
        f" {block}\n     …  # what comes before\n-    {source}\n"
        f"+{source}\n+{block}\n     …  # what comes after, with a connection of its own"
    )


def after_response(source: str) -> str:
    """Close the session before the response."""
    return (
        "-session: Annotated[AsyncSession, Depends(get_session)]\n"
        '+session: Annotated[AsyncSession, Depends(get_session, scope="function")]\n'
        f" …\n {source}  # holds no connection any more"
    )


def streaming(source: str) -> str:
    """A session for each message."""
    block = f"{_with(source)} make_session() as session:"
    return (
        f"-{source}\n+{block}  # one for each message, not one for the whole stream\n+    {source}"
    )


def nested(source: str) -> str:
    """Give the first connection back before."""
    end = (
        "await session.commit()" if "await " in source or "async " in source else "session.commit()"
    )
    return f"+{end}  # give the first one back, or hand it on\n {source}"


def never_returned(source: str) -> str:
    """A block that closes the session."""
    return f"-{source}\n+{_with(source)} make_session() as session:\n+    {source}"


def lost_write(source: str) -> str:
    """Commit."""
    end = "await session.commit()" if "await " in source else "session.commit()"
    return f" {source}\n+{end}"


def timeout(source: str) -> str:
    """Nothing: the line only waits."""
    return f" {source}  # only waits here: change what held the connections"


def shared(source: str) -> str:
    """A session for each task."""
    block = f"{_with('await f()')} make_session() as session:"
    return f" {source}\n …\n+{block}  # in each of the tasks\n     …  # what the task does"


def churn(source: str) -> str:
    """Keep connections."""
    return (
        "-engine = create_async_engine(url, poolclass=NullPool)\n"
        "+engine = create_async_engine(url, pool_size=…)  # as many as are usually lent\n"
        f" …\n {source}  # then finds one that is open"
    )


def starved(source: str) -> str:
    """Leave it to a thread."""
    return f"-{source}\n+await asyncio.to_thread(work)  # where work() does: {source}"


def thread_starved(source: str) -> str:
    """Close the session in the thread that used it."""
    return f" {source}\n+session.close()  # here, not in another thread"
