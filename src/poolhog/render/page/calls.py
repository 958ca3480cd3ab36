"""What a line of code calls, as far as the line alone can tell."""

from __future__ import annotations

import ast
import re
import warnings

_LONGEST = 60

_OPEN_CALL = re.compile(r"await\s+([A-Za-z_][\w.]*)\($|(?:^|[=\s])([A-Za-z_][\w.]*)\($")
"""The beginning of a call that goes on in the next line."""


def call_of(source: str) -> str:
    """The name of what is awaited or called; "" if it is more than one thing, or cannot be told."""
    tree = _parsed(source)
    if tree is None:
        found = _OPEN_CALL.search(source)
        return (found[1] or found[2]) if found is not None else ""
    try:
        return _called(tree)
    except RecursionError:  # one in the other, more deeply than anybody writes
        return ""


def _called(tree: ast.AST) -> str:
    awaited = next((node.value for node in ast.walk(tree) if isinstance(node, ast.Await)), None)
    if awaited is not None:
        return _name(awaited.func if isinstance(awaited, ast.Call) else awaited)
    calls = _Outermost()
    calls.visit(tree)
    return _name(calls.found[0].func) if len(calls.found) == 1 else ""


class _Outermost(ast.NodeVisitor):
    """Calls that are no part of another one."""

    def __init__(self) -> None:
        self.found: list[ast.Call] = []

    def visit_Call(self, node: ast.Call) -> None:
        """Looked at, and not what is in it."""
        self.found.append(node)


def _name(node: ast.expr) -> str:
    name = ast.unparse(node)
    return name if len(name) <= _LONGEST and "\n" not in name else ""


def _parsed(source: str) -> ast.AST | None:
    """The line as a statement of a coroutine; ``None`` if it is a part of one only."""
    with warnings.catch_warnings():
        # The line is somebody else's: what Python advises about it is of no use here.
        warnings.simplefilter("ignore")
        for body in (source, f"{source} pass"):
            try:
                # Of a "single" statement, an error does not have Python look for a file with it.
                return ast.parse(f"async def line():\n    {body}\n", mode="single")
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                continue
    return None
