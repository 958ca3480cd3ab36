"""Advice as code: a change of the recorded lines, with the names that these have.

A change is only made where the lines say all that it needs. Where they do not, there is none, and
the advice in words stands alone.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolhog.analysis.findings.circumstances import Awaited, Circumstances, Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolhog.analysis.findings.held_after_response import AfterResponse
    from poolhog.analysis.findings.held_while_streaming import WhileStreaming
    from poolhog.analysis.findings.parked_checkout import ParkedGaps
    from poolhog.model import Site

NO_PATCH = ""


def no_patch(place: Place, evidence: object) -> str:
    """Nothing: the line is not the one to change, or does not say enough."""
    del place, evidence
    return NO_PATCH


_NAME = r"[A-Za-z_][\w.]*"
_BLOCK = re.compile(r"(?:async )?with\b.*:\s*(?:#.*)?$")
_COMPOUND = re.compile(r"(?:async )?(?:with|for|while|if|elif|else|try|except|finally|def|class)\b")
_SENDS = re.compile(
    rf"\b({_NAME})\.(?:execute|exec|scalars?|stream|stream_scalars|get|get_one|refresh|flush|merge"
    r"|add|add_all|delete|fetch|fetchrow|fetchval|executemany)\("
)
_SESSION = re.compile(
    rf"\b({_NAME})\.(?:execute|exec|scalars?|stream|stream_scalars|get|get_one|refresh|flush|merge"
    r"|add|add_all|delete)\("
)
_CURSOR = re.compile(r"(?:^|[._])cur(?:sor)?\d*$", re.IGNORECASE)
_ENGINE = re.compile(rf"\b({_NAME})\.(?:begin|connect|raw_connection)\(")
_TAKEN = re.compile(rf"^({_NAME})\s*=\s*(await )?({_NAME}\(.*\))\s*(?:#.*)?$")
_ACQUIRED = re.compile(r"\.getconn\(")


@dataclass(frozen=True, slots=True)
class Place:
    """The line to change, and the lines around it, as far as they can be read."""

    site: Site
    around: Sequence[str] = ()

    @property
    def line(self) -> str:
        """The text of the line."""
        return self.site.source

    @property
    def is_async(self) -> bool | None:
        """Whether the function awaits; ``None``: the lines do not tell."""
        if "await " in self.line or self.line.startswith("async "):
            return True
        if any("await " in line or line.lstrip().startswith("async ") for line in self.around):
            return True
        return False if len(self.around) > 1 else None


def parked(place: Place, evidence: ParkedGaps) -> str:
    """Give the connection back before the line: end the transaction, or leave the block."""
    one = _heaviest(evidence.circumstances)
    if one is None or one.awaited in (Awaited.LISTENER, Awaited.DRIVER_LOCK):
        return NO_PATCH
    if one.style in (Style.BEGIN, Style.ACQUIRE):
        return _out_of_block(place, one.held_by)
    if one.style in (Style.SESSION, Style.DEPENDENCY):
        asked = [gap.before.site for gap in evidence.between if gap.before is not None]
        return _ended_before(place, [*asked, one.held_by])
    return NO_PATCH


def _out_of_block(place: Place, held_by: Site | None) -> str:
    """Move the line out of the block that holds the connection, if both are in one function."""
    moved = _frame_in(place.site, held_by)
    if held_by is None or moved is None or not _BLOCK.match(held_by.source):
        return NO_PATCH
    block, line = held_by.source, _whole(moved.source)
    if not line or moved.source == block:
        return NO_PATCH
    inside = "\n".join(f"-    {part}" for part in line.split("\n"))
    outside = "\n".join(f"+{part}" for part in line.split("\n"))
    return (
        f" {block}\n     …  # what comes before\n{inside}\n"
        f"{outside}\n+{block}\n+    …  # what comes after, with a connection of its own"
    )


def _ended_before(place: Place, asked: Iterable[Site | None]) -> str:
    """End the transaction of the session before the line, if its function has the session."""
    for site in asked:
        line = _frame_in(place.site, site)
        name = _session_in(site.source) if site is not None else ""
        if line is None or not name or not line.source:
            continue
        wait = "await " if _is_awaited(site.source if site is not None else "") else ""
        end = f"+{wait}{name}.commit()  # the connection goes back; the next statement gets one"
        return f"{end}\n {line.source}"
    return NO_PATCH


def after_response(_: Place, evidence: AfterResponse) -> str:
    """Close the dependency before the response."""
    return _narrowed(evidence.dependency)


def streaming(_: Place, evidence: WhileStreaming) -> str:
    """Close the dependency before the stream, if the stream does not use its session."""
    asked = max(evidence.asked_at, key=lambda one: evidence.asked_at[one], default=None)
    found = asked.circumstances if asked is not None else None
    if asked is None or found is None or asked.uses_it or found.style is not Style.DEPENDENCY:
        return NO_PATCH
    if found.awaited in (Awaited.LISTENER, Awaited.MESSAGE):
        return NO_PATCH
    return _narrowed(found.held_by.name if found.held_by is not None else None)


def _narrowed(dependency: str | None) -> str:
    if not dependency:
        return NO_PATCH
    return f'-Depends({dependency})\n+Depends({dependency}, scope="function")'


def never_returned(place: Place, _: object) -> str:
    """A block around what gets the connection."""
    taken = _TAKEN.match(place.line)
    if taken is None:
        return NO_PATCH
    name, wait, call = taken[1], taken[2], taken[3]
    is_async = bool(wait) or "async" in call.lower() or place.is_async
    if is_async is None:
        return NO_PATCH
    block = "async with" if is_async else "with"
    call = _ACQUIRED.sub(".connection(", call)
    return f"-{place.line}\n+{block} {call} as {name}:\n+    …  # what uses it"


def lost_write(place: Place, _: object) -> str:
    """Commit."""
    name = _session_in(place.line)
    is_async = place.is_async
    if not name or is_async is None:
        return NO_PATCH
    return f" {place.line}\n+{'await ' if is_async else ''}{name}.commit()"


def starved(place: Place, _: object) -> str:
    """Leave the call to a thread."""
    call = _only_call(place.line)
    if call is None:
        return NO_PATCH
    before, text, after = call
    return f"-{place.line}\n+{before}{text}{after}"


def thread_starved(place: Place, _: object) -> str:
    """Close the session in the thread that used it."""
    name = _session_in(place.line)
    if not name or place.is_async:
        return NO_PATCH
    return f" {place.line}\n+{name}.close()  # in the thread that used it"


def made_once(place: Place, _: object) -> str:
    """Make it once."""
    if _COMPOUND.match(place.line) or not _whole(place.line):
        return NO_PATCH
    return f"-{place.line}\n+{place.line}  # once, in the module or the lifespan"


def after_fork(place: Place, _: object) -> str:
    """Begin with connections of its own."""
    engine = _ENGINE.search(place.line)
    if engine is None:
        return NO_PATCH
    return f"+{engine[1]}.dispose(close=False)  # first thing in the forked process\n {place.line}"


def _frame_in(site: Site, other: Site | None) -> Site | None:
    """The frame of a stack that is in the function of another line."""
    if other is None:
        return None
    same = (f for f in site.stack if (f.file, f.function) == (other.file, other.function))
    return next(same, None)


def _session_in(source: str) -> str:
    """The name of the session or connection that a line sends a statement to; a cursor is none."""
    found = _SESSION.search(source)
    return "" if found is None or _CURSOR.search(found[1]) else found[1]


def _is_awaited(source: str) -> bool:
    found = _SENDS.search(source)
    return found is not None and "await " in source[: found.start()] + "\n"


def _whole(source: str) -> str:
    """A line as a statement: with "…" for what it goes on with; "" if it begins in the middle."""
    if _COMPOUND.match(source) and source.endswith(":"):
        return f"{source}\n    …"
    if _parses(source):
        return source
    if source.endswith("(") and _parses(f"{source}...)"):
        return f"{source}…)"
    return ""


def _parses(source: str) -> bool:
    return _tree(source) is not None


def _tree(source: str) -> ast.AsyncFunctionDef | None:
    # The line is somebody else's.
    try:
        found = ast.parse(f"async def line():\n    {source}\n").body[0]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, ast.AsyncFunctionDef) and len(found.body) == 1 else None


def _only_call(source: str) -> tuple[str, str, str] | None:
    """What is before a line's only call, the call in a thread, and what is after it.

    ``None`` if it has several calls, awaits one, or is only part of a statement.
    """
    tree = _tree(source)
    if tree is None or any(isinstance(node, ast.Await) for node in ast.walk(tree)):
        return None
    (statement,) = tree.body
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr | ast.Return):
        return None
    call = statement.value
    if not isinstance(call, ast.Call) or call.end_col_offset is None:
        return None
    try:
        parts = [ast.unparse(part) for part in (call.func, *call.args)]
        parts += [ast.unparse(keyword) for keyword in call.keywords]
    except RecursionError:
        return None
    # Offsets are of UTF-8, in the line behind its margin.
    line = source.encode()
    start, end = call.col_offset - 4, call.end_col_offset - 4
    text = f"await asyncio.to_thread({', '.join(parts)})"
    return line[:start].decode(), text, line[end:].decode()


def _heaviest(found: Mapping[Circumstances, float]) -> Circumstances | None:
    return max(found, key=lambda one: found[one], default=None)
