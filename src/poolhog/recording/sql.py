"""SQL text without its literals and comments: what may stand in a trace."""

from __future__ import annotations

import re

LONGEST_STATEMENT = 10_000
"""Characters of a statement that are kept: to look for literals in a megabyte of it would hold up
the application, which has to wait for the interpreter meanwhile."""

_TOKENS = r"""
    (?P<comment> --[^\n]* | /\*(?:(?!/\*).)*?\*/ | /\*.*\Z )
  | (?P<string>  \b[nN]?[qQ]'.*\Z
               | [eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)
               | (?:\b[bBnNxXuU]&?)?'(?:[^'\\]|''|\\(?!'))*(?:\\'.*\Z|'|\Z)
               | \$\$.*?(?:\$\$|\Z)
               | "(?:[^"]|"")*\Z
               | \$(?P<tag>[^\W\d]\w*)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<name>   "(?:[^"]|"")*" | `[^`]*` | [^\W\d]\w* | \$\d+ | :[^\W\d]\w* | %\(\w+\)s )
  | (?P<number> 0[xXbBoO][0-9a-fA-F_]+ | (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? )
    """

_IN_DOUBLE_QUOTES = r"""
    (?P<hash> \#[^\n]* )
  | (?P<double> "(?:[^"\\]|""|\\(?!"))*(?:\\".*\Z|"|\Z) )
  |
"""
"""What comes before the other tokens where these are a comment and a string."""

_USUAL = re.compile(_TOKENS, re.VERBOSE | re.DOTALL)
_DOUBLE_QUOTED = re.compile(_IN_DOUBLE_QUOTES + _TOKENS, re.VERBOSE | re.DOTALL)


def kept_of(sql: str, *, is_double_quoted: bool = False) -> str:
    """What a trace keeps of a statement: its beginning, if it is a very long one."""
    kept = without_literals(sql[:LONGEST_STATEMENT], is_double_quoted=is_double_quoted)
    return kept if len(sql) <= LONGEST_STATEMENT else f"{kept} …"


def without_literals(sql: str, *, is_double_quoted: bool = False) -> str:
    """``sql`` with each string and number replaced by ``?``, without comments.

    Placeholders of parameters (``$1``, ``:name``, ``%(name)s``) and names in double quotes stay,
    unless these are strings, as MySQL has them. Where it is not certain where a string or comment
    ends (unterminated, nested, or with a backslash before a quote, which databases understand
    differently), it is taken to reach to the end: too much is dropped rather than too little.
    """
    tokens = _DOUBLE_QUOTED if is_double_quoted else _USUAL
    return tokens.sub(_kept, sql).strip()


def _kept(match: re.Match[str]) -> str:
    if match.lastgroup in ("comment", "hash"):
        return " "
    return match[0] if match.lastgroup == "name" else "?"
