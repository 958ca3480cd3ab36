"""Advice as code: a sketch of the change, made of the line that a finding names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.findings import FindingKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class SketchLine(NamedTuple):
    """A line of a change: ``sign`` is "-" if it goes, "+" if it comes, " " if it stays."""

    sign: str
    text: str


Sketch = tuple[SketchLine, ...]


def sketch_of(kind: FindingKind, source: str) -> Sketch:
    """The change for a finding of this kind at a line; nothing without the line's text."""
    if not source:
        return ()
    return _of(_SKETCHES[kind](source))


def _of(text: str) -> Sketch:
    """Lines whose first character is their sign."""
    return tuple(SketchLine(line[0], line[1:]) for line in text.split("\n"))


def _with(source: str) -> str:
    """How a block begins where such a line stands."""
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


_SKETCHES: Mapping[FindingKind, Callable[[str], str]] = {
    FindingKind.PARKED_CHECKOUT: _parked,
    FindingKind.HELD_AFTER_RESPONSE: _after_response,
    FindingKind.HELD_WHILE_STREAMING: _streaming,
    FindingKind.NESTED_CHECKOUT: _nested,
    FindingKind.NEVER_RETURNED: _never_returned,
    FindingKind.LOST_WRITE: _lost_write,
    FindingKind.POOL_TIMEOUT: _timeout,
    FindingKind.CONNECTION_CHURN: _churn,
    FindingKind.STARVED_LOOP: _starved,
}
