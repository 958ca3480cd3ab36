"""The line of code that a finding names: what it calls, and the lines around it on this machine.

A trace may be somebody else's, and names whatever files it likes. So lines come only from Python
files below a directory that the reader chose, and only if they are what was recorded.
"""

from __future__ import annotations

import ast
import io
import os
import re
import stat
import tokenize
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.model import Site

AROUND = 3
"""Lines that are shown before a site, and after it."""

LARGEST = 1_000_000
"""Bytes of a file that is still read."""

_LONGEST_LINE = 200
_LONGEST_NAME = 60

_SUFFIX = ".py"

# No terminal takes over the process, and a pipe that nobody writes to does not stop it.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_OPEN_CALL = re.compile(r"await\s+([A-Za-z_][\w.]*)\($|(?:^|[=\s])([A-Za-z_][\w.]*)\($")
"""The beginning of a call that goes on in the next line."""


class SourceLine(NamedTuple):
    """A line of a file; ``is_site``: it is the one that matters."""

    number: int
    text: str
    is_site: bool


class SourceFiles:
    """The Python files below a directory; without a directory, none is read."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = None if directory is None else Path(os.path.realpath(directory))
        self._known: dict[str, Sequence[str]] = {}

    def lines_around(self, site: Site) -> list[SourceLine]:
        """Return the lines around a site, or only its own if the file is not here as recorded.

        If no source was recorded, there are no lines.
        """
        number, source = site.line, site.source
        if not source:
            return []
        lines = self._lines(site.file)
        if not 1 <= number <= len(lines) or visible(lines[number - 1].strip(), keep="\t") != source:
            return [SourceLine(number, source, is_site=True)]
        first, last = max(number - AROUND, 1), min(number + AROUND, len(lines))
        shown = _dedented(lines[first - 1 : last])
        return [SourceLine(n, text, n == number) for n, text in enumerate(shown, first)]

    def has(self, file: str) -> bool:
        """Whether the file is here, and may be read."""
        return bool(self._lines(file))

    def _lines(self, file: str) -> Sequence[str]:
        found = self._known.get(file)
        if found is None:
            found = self._known[file] = self._read(file)
        return found

    def _read(self, file: str) -> Sequence[str]:
        """Return the lines of a file; none if it is missing or may not be read."""
        if self._directory is None or not file.endswith(_SUFFIX) or not Path(file).is_absolute():
            return ()
        try:
            path = Path(os.path.realpath(file))
            if path.suffix != _SUFFIX or not path.is_relative_to(self._directory):
                return ()
            content = _content(path)
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
            # Not splitlines(): to Python, a form feed does not end a line.
            return [line.rstrip("\n") for line in io.TextIOWrapper(io.BytesIO(content), encoding)]
        except (OSError, SyntaxError, LookupError, ValueError):
            return ()


def _content(path: Path) -> bytes:
    """Return the content of a regular file that is not large, nothing for any other file.

    The path has no links in it. If it is a link now, it became one since.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return b""
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(LARGEST)
    finally:
        os.close(descriptor)


def _dedented(lines: Sequence[str]) -> list[str]:
    """Return the lines without the white space that all of them begin with."""
    expanded = [line.expandtabs(4).rstrip() for line in lines]
    margins = [len(line) - len(line.lstrip()) for line in expanded if line]
    margin = min(margins, default=0)
    return [visible(line[margin:], _LONGEST_LINE) for line in expanded]


def call_of(source: str) -> str:
    """Return what a line awaits or calls; "" if that is several things, or cannot be seen."""
    tree = _parsed(source)
    if tree is None:
        found = _OPEN_CALL.search(source)
        return (found[1] or found[2]) if found is not None else ""
    try:
        return _called(tree)
    except RecursionError:  # nested more deeply than anybody writes
        return ""


def _called(tree: ast.AST) -> str:
    awaited = next((node.value for node in ast.walk(tree) if isinstance(node, ast.Await)), None)
    if awaited is not None:
        return _name(awaited.func if isinstance(awaited, ast.Call) else awaited)
    calls = _Outermost()
    calls.visit(tree)
    return _name(calls.found[0].func) if len(calls.found) == 1 else ""


class _Outermost(ast.NodeVisitor):
    """Collects the calls that are not part of another call."""

    def __init__(self) -> None:
        self.found: list[ast.Call] = []

    def visit_Call(self, node: ast.Call) -> None:
        """Collect the call, and do not look into it."""
        self.found.append(node)


def _name(node: ast.expr) -> str:
    name = ast.unparse(node)
    return name if len(name) <= _LONGEST_NAME and "\n" not in name else ""


def _parsed(source: str) -> ast.AST | None:
    """Return the line as a statement of a coroutine; ``None`` if it is only part of a statement."""
    with warnings.catch_warnings():
        # The line is somebody else's: Python's warnings about it are of no use here.
        warnings.simplefilter("ignore")
        for body in (source, f"{source} pass"):
            try:
                # Of a "single" statement, an error does not have Python look for a file with it.
                return ast.parse(f"async def line():\n    {body}\n", mode="single")
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                continue
    return None
