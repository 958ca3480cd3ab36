"""Advice as code: a patch to the line that a finding names, as a sketch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings import (
    CONNECTION_CHURN,
    HELD_AFTER_RESPONSE,
    HELD_WHILE_STREAMING,
    LOST_WRITE,
    NESTED_CHECKOUT,
    NEVER_RETURNED,
    PARKED_CHECKOUT,
    POOL_TIMEOUT,
    STARVED_LOOP,
)
from poolhog.render.findings import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class PatchLine(NamedTuple):
    """A line of a change: ``sign`` is "-" if it is removed, "+" if added, " " if it stays."""

    sign: str
    text: str


Patch = tuple[PatchLine, ...]


def patch_of(kind: str, source: str) -> Patch:
    """Return the change for a finding of a kind, by its name; without the line's text, none."""
    if not source:
        return ()
    make = WORDS[kind].patch or _PATCHES[kind]
    return _of(make(source))


def _of(text: str) -> Patch:
    """Make a patch of lines whose first character is their sign."""
    return tuple(PatchLine(line[0], line[1:]) for line in text.split("\n"))


def _with(source: str) -> str:
    """Return how a block begins in code that has such a line."""
    return "async with" if "await " in source or "async " in source else "with"


def _parked(source: str) -> str:
    block = f"{_with(source)} session.begin():"
    return (
        f" {block}\n     …  # what comes before\n-    {source}\n"
        f"+{source}\n+{block}\n     …  # what comes after, with a connection of its own"
    )


def _after_response(source: str) -> str:
    return (
        "-session: Annotated[AsyncSession, Depends(get_session)]\n"
        '+session: Annotated[AsyncSession, Depends(get_session, scope="function")]\n'
        f" …\n {source}  # holds no connection any more"
    )


def _streaming(source: str) -> str:
    block = f"{_with(source)} make_session() as session:"
    return (
        f"-{source}\n+{block}  # one for each message, not one for the whole stream\n+    {source}"
    )


def _nested(source: str) -> str:
    end = (
        "await session.commit()" if "await " in source or "async " in source else "session.commit()"
    )
    return f"+{end}  # give the first one back, or hand it on\n {source}"


def _never_returned(source: str) -> str:
    return f"-{source}\n+{_with(source)} make_session() as session:\n+    {source}"


def _lost_write(source: str) -> str:
    end = "await session.commit()" if "await " in source else "session.commit()"
    return f" {source}\n+{end}"


def _timeout(source: str) -> str:
    return f" {source}  # only waits here: change what held the connections"


def _churn(source: str) -> str:
    return (
        "-engine = create_async_engine(url, poolclass=NullPool)\n"
        "+engine = create_async_engine(url, pool_size=…)  # as many as are usually lent\n"
        f" …\n {source}  # then finds one that is open"
    )


def _starved(source: str) -> str:
    return f"-{source}\n+await asyncio.to_thread(work)  # where work() does: {source}"


_PATCHES: Mapping[str, Callable[[str], str]] = {
    PARKED_CHECKOUT.name: _parked,
    HELD_AFTER_RESPONSE.name: _after_response,
    HELD_WHILE_STREAMING.name: _streaming,
    NESTED_CHECKOUT.name: _nested,
    NEVER_RETURNED.name: _never_returned,
    LOST_WRITE.name: _lost_write,
    POOL_TIMEOUT.name: _timeout,
    CONNECTION_CHURN.name: _churn,
    STARVED_LOOP.name: _starved,
}
