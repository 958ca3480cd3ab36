"""Listings: the source of the service's endpoints, as the report shows it."""

from __future__ import annotations

import ast
from importlib.resources import files
from textwrap import dedent

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from poolhog.lab.service.settings import Style

MODULES = {
    Style.IMPLICIT: "implicit.py",
    Style.EXPLICIT: "explicit.py",
    Style.PER_QUERY: "per_query.py",
}
"""The module of each style that the talk shows."""

MOST_COLUMNS = 76
"""A slide has room for lines of this length beside a picture."""


def endpoint(style: Style, name: str) -> str:
    """The source of an endpoint with its decorators. Raises ``LookupError`` if there is none."""
    source = (files("poolhog.lab.service") / MODULES[style]).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            first = min(decorator.lineno for decorator in node.decorator_list)
            lines = source.splitlines()[first - 1 : node.end_lineno]
            return "\n".join(
                part for line in dedent("\n".join(lines)).splitlines() for part in _fitted(line)
            )
    raise LookupError(f"{MODULES[style]} has no endpoint {name}")


def _fitted(line: str) -> list[str]:
    """A line that is too long, with what its outermost brackets enclose on a line of its own."""
    first, last = line.find("("), line.rfind(")")
    if len(line) <= MOST_COLUMNS or not 0 < first < last:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    return [line[: first + 1], f"{indent}    {line[first + 1 : last]}", f"{indent}{line[last:]}"]


def highlighted(source: str) -> Markup:
    """Python source as highlighted HTML."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))  # noqa: S704 - it escapes
