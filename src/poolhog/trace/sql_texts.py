"""SQL that shows the texts of a trace's rows as the reader does, so that they can be looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.texts import visible

if TYPE_CHECKING:
    import sqlite3

_PLAIN = "NOT ({0} GLOB '*[^ -~]*' OR instr({0}, char(0)))"
"""Holds for printable ASCII. The usual text is that, and SQLite need not ask Python about it."""


def shown(text: str) -> str:
    """The expression for what ``visible`` makes of the text of an expression."""
    return f"CASE WHEN {_PLAIN.format(text)} THEN {text} ELSE poolhog_visible({text}) END"


def name_of(method: str, route: str, path: str) -> str:
    """The expression for what ``Request.name`` says, of those for the parts."""
    name = f"({method} || ' ' || coalesce(nullif({route}, ''), {path}))"
    return f"CASE WHEN {_PLAIN.format(name)} THEN trim({name}) ELSE poolhog_name({name}) END"


def teach(database: sqlite3.Connection) -> None:
    """Let the connection understand these expressions."""
    database.create_function("poolhog_visible", 1, visible, deterministic=True)
    database.create_function("poolhog_name", 1, _name, deterministic=True)


def _name(text: str) -> str:
    return visible(text).strip()
