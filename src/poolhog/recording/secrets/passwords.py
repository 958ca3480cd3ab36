"""Statements about accounts and settings without their passwords, which need no quotes.

``IDENTIFIED BY tiger`` is Oracle's, ``PRAGMA key = tiger`` is SQLCipher's, and ``EXEC p tiger``
gives a procedure of SQL Server's a string. In queries, and in definitions of tables, a word
without quotes is a name: columns are called ``password``.
"""

from __future__ import annotations

import re

_IDENTIFIED = re.compile(r"(?i)\bidentified\s++(?:by|with|via|globally|externally)\b")

_SECRET = re.compile(
    r"(?i)(?:pass(?!enger|ive|through)|pwd|secret|token|credential|authenticat|(?<!foreign_)key(?!s)"
    r"|^\W*+connect\b)\w*+[\"`\]]?"
)
"""A word of a statement about accounts or settings that a password may follow."""

_ACCOUNT = re.compile(
    r"(?i)\b(?:create|alter)\s++(?:(?:or|replace|if|not|exists|public|private|shared|database|scoped"
    r"|symmetric|asymmetric|master|persistent|temporary|temp|external|encryption|column|application"
    r"|foreign)\s++){0,6}(?:user|role|login|group|secret|credential|server|subscription|link|key"
    r"|certificate|account|profile)\b"
)
"""A statement about an account, also in the midst of others."""

_DEFINITION = re.compile(
    r"(?i)\W*+(?:create|alter)\s++(?:\w++\s++){0,5}?(?:table|index|view|function|procedure|trigger"
    r"|package|type|sequence|domain|schema|extension|synonym|statistics|policy|rule|aggregate"
    r"|publication|operator|collation|event)\b"
)
_QUERY = re.compile(
    r"(?i)\W*+(?:(?:analyze|analyse|begin|call|close|comment|commit|copy|deallocate|declare|delete"
    r"|describe|desc|do|drop|else|end|exec|execute|explain|fetch|for|from|grant|if|insert|listen|load"
    r"|lock|merge|move|notify|prepare|print|reindex|release|replace|return|returning|revoke|rollback"
    r"|savepoint|select|start|table|then|truncate|unlisten|update|upsert|use|vacuum|values|when|where"
    r"|while|with)\b|\Z)"
)
"""A statement in which a word without quotes is a name, by its first word."""

_COMMAND = re.compile(
    r"(?i)\W*+(?:add|alter|attach|backup|break|bulk|checkpoint|connect|continue|create|dbcc|deny"
    r"|detach|disable|enable|go|goto|kill|open|pragma|raiserror|reconfigure|restore|revert|save|set"
    r"|show|shutdown|throw|waitfor)\b"
)
"""A further statement that is no call of a procedure."""

_CUSTOM_SETTING = re.compile(
    r"(?i)\W*+set\s++(?:(?:session|local|global)\s++)?[\w\"]++\.[\w.\"]++\s*+(?:=|\bto\b)"
)
"""A setting of the application's own, which PostgreSQL takes with any word as its value."""

_PROCEDURE = re.compile(
    r"(?i)\bexec(?:ute)?\b\s*+(?:@\w++\s*+=\s*+)?((?:[\w$#@.]|\[[^\]]*+\]|\"[^\"]*+\")++)"
)
_CALL = re.compile(r"\W*+[\w$#@.\[\]]++")
_ARGUMENT = re.compile(r"@\w++|\[(?:[^\]]|\]\])*+\]|\"(?:[^\"]|\"\")*+\"|\w++")
_NO_STRINGS = frozenset(["null", "default", "output", "out"])


def without_passwords(sql: str, *, has_bare_arguments: bool) -> str:
    """``sql``, which has no literals any more, without what follows a word such as PASSWORD.

    All that follows goes: what a password without quotes consists of is not known.
    ``has_bare_arguments`` says whether words are strings as arguments of EXEC.
    """
    kept = _until_secret(sql)
    return _without_arguments(kept) if has_bare_arguments else kept


def _until_secret(sql: str) -> str:
    ends = [found.end()] if (found := _IDENTIFIED.search(sql)) else []
    at = 0
    # A quoted name may have a semicolon in it: what is after that is taken for a statement as well.
    for statement in sql.split(";"):
        end = _secret_end(statement)
        if end is not None:
            ends.append(at + end)
            break
        at += len(statement) + 1
    return f"{sql[: min(ends)]} ?" if ends else sql


def _secret_end(statement: str) -> int | None:
    """Where the words end that a secret may follow."""
    setting = _CUSTOM_SETTING.match(statement)
    if setting is not None:
        return setting.end()
    if not _SECRET.search(statement):
        return None
    start = 0
    if _is_query(statement):
        account = _ACCOUNT.search(statement)
        if account is None:
            return None
        start = account.start()
    secret = _SECRET.search(statement, start)
    return secret.end() if secret is not None else None


def _is_query(statement: str) -> bool:
    """Whether a query or a definition, in which words without quotes are names."""
    return bool(_QUERY.match(statement) or _DEFINITION.match(statement))


def _without_arguments(sql: str) -> str:
    """``sql`` without the words that are arguments of a procedure."""
    # The first statement of a batch may call one without saying so.
    is_call = not (_QUERY.match(sql) or _COMMAND.match(sql))
    found = _CALL.match(sql) if is_call else _PROCEDURE.search(sql)
    if found is None:
        return sql
    return sql[: found.end()] + _ARGUMENT.sub(_argument, sql[found.end() :])


def _argument(match: re.Match[str]) -> str:
    is_kept = match[0].startswith("@") or match[0].lower() in _NO_STRINGS
    return match[0] if is_kept else "?"
