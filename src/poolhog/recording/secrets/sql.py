"""SQL text without its literals, comments and passwords: what may stand in a trace.

Databases disagree about what is a string, a name and a comment, so each dialect has tokens of its
own. Where a setting of the database decides, or the dialect is unknown, the stricter reading
counts: too much is dropped rather than too little.
"""

from __future__ import annotations

import re

from poolhog.recording.secrets.passwords import without_passwords

LONGEST_STATEMENT = 10_000
"""Characters of a statement that are kept: to look for literals in a megabyte of it would hold up
the application, which has to wait for the interpreter meanwhile."""

# A pattern either fails at once, or goes on to the end of the text where its token has no end, and
# never tries again with less (``*+``): reading takes time in proportion to the length of the text.
_REST = r".*\Z"

# Whether a carriage return ends a comment, and whether comments nest, depends on the database.
_LINE = rf"--[^\r\n\0]*+(?:(?=\r?\n)|{_REST})"
_BLOCK = rf"/\*(?:[^*/]|\*(?!/)|/(?!\*))*+(?:\*/|{_REST})"
_MYSQL_LINE = rf"--(?=\s|\Z)[^\r\n\0]*+(?:(?=\r?\n)|{_REST}) | \#[^\n]*+"
# MySQL executes some comments: strings in them may contain what looks like the end of the comment.
_EXECUTED_BLOCK = rf"/\*(?:M?!|\+)[^'\"`*\#/-]*+(?:\*/|{_REST})"
_DOUBTFUL_COMMENT = rf"(?:--(?!\s|\Z)|\#|//){_REST}"

_PLAIN = r"(?:\b[bBnNxX])?'(?:[^']|'')*+(?:'|\Z)"
# Whether a backslash before a quote escapes it is a setting of PostgreSQL and MySQL.
_ESCAPING = rf"(?:\b[bBnNxX]|\b[uU]&)?'(?:[^'\\]|''|\\\\|\\(?!'))*+(?:'|\\'{_REST}|\Z)"
_E_STRING = r"\b[eE]'(?:[^'\\]|''|\\.)*+(?:'|\\?\Z)"
_DOLLARS = r"\$(?P<tag>(?:[^\W\d]\w*+)?)\$.*?(?:\$(?P=tag)\$|\Z)"
_Q_STRING = r"""\b[nN]?[qQ]'(?: \[.*?(?:\]'|\Z) | \{.*?(?:\}'|\Z) | \(.*?(?:\)'|\Z) | <.*?(?:>'|\Z)
    | (?P<mark>.).*?(?:(?P=mark)'|\Z) | \Z )"""
_DOUBTFUL_Q_STRING = rf"\b[nN]?[qQ]'{_REST}"
_ESCAPING_DOUBLE = rf'"(?:[^"\\]|""|\\\\|\\(?!"))*+(?:"|\\"{_REST}|\Z)'
_PLAIN_DOUBLE = r'"(?:[^"]|"")*+(?:"|\Z)'
_UNCLOSED_DOUBLE = rf'"{_REST}'
_UNCLOSED_BACKTICK = rf"`{_REST}"
_UNCLOSED_BRACKET = rf"\[{_REST}"
_DOUBTFUL_STRING = rf"(?:'''|\"\"\"|\$(?:[^\W\d]\w*+)?\$){_REST}"
# A bracket or brace with anything else than names in it may be a quoted name or a comment.
_DOUBTFUL_BRACKET = (
    rf"\[(?![\w\s.,:?$%()*+]*+\](?!\])){_REST} | \{{(?![\w\s.,:?$%()*+]*+\}}){_REST}"
    rf" | `(?!(?:[\w\s.$]|-(?!-))++`){_REST}"
)

_DOUBLE = r'"(?:[^"]|"")*+"'
# Where there can be no string: beside a dot, and after words that a table follows. In VACUUM INTO
# and IS DISTINCT FROM, there can be one.
_QUALIFIED_DOUBLE = rf"""(?<=[\w"\]`]\.){_DOUBLE} | {_DOUBLE}(?=\.)
    | (?i:\b(?:(?:insert|replace)\s++into|join|update|table))[\ \t]*+{_DOUBLE}"""
_FROM_DOUBLE = rf"(?i:\bfrom)[\ \t]*+{_DOUBLE}"
_DISTINCT_FROM = r"(?i:\bdistinct\s++from\b)"
_DOUBTFUL_DISTINCT = rf"(?i:\bdistinct)\s*+(?:--|/\*){_REST}"
_BACKTICKS = r"`(?:[^`]|``)*+`"
_BRACKETS = r"\[[^\]]*+\]"
_ESCAPING_BRACKETS = r"\[(?:[^\]]|\]\])*+\]"

_WORD = r"[^\W\d][\w$]*+ | :[^\W\d]\w*+ | %\(\w+\)s"
_WIDE_WORD = r"[^\W\d][\w$\#@]*+ | :[^\W\d]\w*+ | %\(\w+\)s"
_NUMBER = r"0[xXbBoO][0-9a-fA-F_]++ | (?:\d[\d_]*+(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?"


def _tokens(comments: str, quoted: str, strings: str, words: str = _WORD) -> re.Pattern[str]:
    """The tokens of a dialect; ``quoted`` are the names that cannot be strings."""
    groups = {
        "comment": comments,
        "quoted": quoted,
        "string": strings,
        "word": words,
        "number": _NUMBER,
    }
    alternatives = "|".join(f"(?P<{name}>{pattern})" for name, pattern in groups.items())
    return re.compile(alternatives, re.VERBOSE | re.DOTALL)


_POSTGRESQL = _tokens(
    f"{_LINE} | {_BLOCK}",
    _DOUBLE,
    f"{_DOUBTFUL_Q_STRING} | {_E_STRING} | {_ESCAPING} | {_DOLLARS} | {_UNCLOSED_DOUBLE}",
    rf"{_WORD} | \$\d++",
)
_MYSQL = _tokens(
    f"{_MYSQL_LINE} | {_EXECUTED_BLOCK} | {_BLOCK}",
    _BACKTICKS,
    f"{_DOUBTFUL_Q_STRING} | {_ESCAPING} | {_ESCAPING_DOUBLE} | {_UNCLOSED_BACKTICK}",
)
_SQLITE = _tokens(
    f"{_LINE} | {_BLOCK}",
    f"{_DISTINCT_FROM} | {_QUALIFIED_DOUBLE} | {_FROM_DOUBLE} | {_BACKTICKS} | {_BRACKETS}",
    f"{_DOUBTFUL_Q_STRING} | {_DOUBTFUL_DISTINCT} | {_PLAIN} | {_PLAIN_DOUBLE}"
    f" | {_UNCLOSED_BACKTICK} | {_UNCLOSED_BRACKET}",
)
_MSSQL = _tokens(
    f"{_LINE} | {_BLOCK}",
    f"{_QUALIFIED_DOUBLE} | {_ESCAPING_BRACKETS}",
    f"{_DOUBTFUL_Q_STRING} | {_PLAIN} | {_PLAIN_DOUBLE} | {_UNCLOSED_BRACKET}",
    _WIDE_WORD,
)
_ORACLE = _tokens(
    f"{_LINE} | {_BLOCK}",
    _DOUBLE,
    f"{_Q_STRING} | {_PLAIN} | {_UNCLOSED_DOUBLE}",
    _WIDE_WORD,
)
_UNKNOWN = _tokens(
    f"{_DOUBTFUL_COMMENT} | {_LINE} | {_EXECUTED_BLOCK} | {_BLOCK}",
    r"`(?:[\w\s.$]|-(?!-))++`",
    f"{_DOUBTFUL_Q_STRING} | {_DOUBTFUL_STRING} | {_DOUBTFUL_BRACKET}"
    f" | {_ESCAPING} | {_ESCAPING_DOUBLE}",
)

_DIALECTS = {
    "postgresql": _POSTGRESQL,
    "cockroachdb": _POSTGRESQL,
    "redshift": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": _SQLITE,
    "mssql": _MSSQL,
    "oracle": _ORACLE,
}
"""The tokens by the name that SQLAlchemy has for the dialect; others are unknown."""


def kept_of(sql: str, dialect: str | None) -> str:
    """What a trace keeps of a statement: its beginning, if it is a very long one."""
    kept = without_literals(sql[:LONGEST_STATEMENT], dialect)
    return kept if len(sql) <= LONGEST_STATEMENT else f"{kept} …"


def without_literals(sql: str, dialect: str | None) -> str:
    """``sql`` with each string and number replaced by ``?``, without comments and passwords.

    ``dialect`` is a name of SQLAlchemy's, such as ``postgresql``; ``None`` if it is not known.
    Placeholders of parameters (``$1``, ``:name``, ``%(name)s``) and names stay. Text that the
    dialect may take as a string goes, and where it is not certain where a string or comment ends
    (it is unterminated, nested, or has a backslash before a quote), it is taken to reach to the
    end. So is the password of an account, which some databases take without quotes.
    """
    tokens = _DIALECTS.get(dialect or "", _UNKNOWN)
    kept = tokens.sub(_kept, sql).strip()
    return without_passwords(kept, has_bare_arguments=tokens in (_MSSQL, _UNKNOWN))


def _kept(match: re.Match[str]) -> str:
    if match.lastgroup == "comment":
        return " "
    return match[0] if match.lastgroup in ("quoted", "word") else "?"
