"""What a statement is that a driver was given, and its text."""

from __future__ import annotations

from typing import Any

from poolhog.model import OperationKind

_KEYWORDS = {
    "BEGIN": OperationKind.BEGIN,
    "START": OperationKind.BEGIN,
    "COMMIT": OperationKind.COMMIT,
    "END": OperationKind.COMMIT,
    "ROLLBACK": OperationKind.ROLLBACK,
    "ABORT": OperationKind.ROLLBACK,
}
"""The first word of a statement that begins or ends a transaction."""

_LONGEST = 64
"""Characters that are looked at: what ends a transaction is short."""


def kind_of(statement: str) -> OperationKind:
    """The kind of operation that the statement is."""
    words = statement[:_LONGEST].upper().replace(";", " ").split(None, 3)
    # ROLLBACK TO a savepoint, ROLLBACK WORK TO one, COMMIT PREPARED: no transaction ends.
    if not words or {"TO", "PREPARED"}.intersection(words[1:3]):
        return OperationKind.STATEMENT
    return _KEYWORDS.get(words[0], OperationKind.STATEMENT)


def text_of(statement: Any, context: Any) -> str:
    """The SQL of a statement in any of the forms that drivers take.

    Those that compose it ask the ``context`` how to quote: a connection, or a cursor.
    """
    if isinstance(statement, str):
        return statement
    if isinstance(statement, bytes):
        return statement.decode(errors="replace")
    if hasattr(statement, "as_string"):
        return str(statement.as_string(context))
    # A template of Python's, whose values are parameters.
    return "?".join(getattr(statement, "strings", ("",)))
