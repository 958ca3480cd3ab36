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


def endpoint(style: Style, name: str) -> str:
    """The source of an endpoint with its decorators. Raises ``LookupError`` if there is none."""
    source = (files("poolhog.lab.service") / MODULES[style]).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            first = min(decorator.lineno for decorator in node.decorator_list)
            lines = source.splitlines()[first - 1 : node.end_lineno]
            return dedent("\n".join(lines))
    raise LookupError(f"{MODULES[style]} has no endpoint {name}")


def highlighted(source: str) -> Markup:
    """Python source as highlighted HTML."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))  # noqa: S704 - it escapes
