"""SQL text without its literals and comments: what may stand in a trace."""

from __future__ import annotations

import re

_TOKENS = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*(?:(?!/\*).)*?\*/ | /\*.*\Z )
  | (?P<string>  [eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)
               | (?:\b[bBnNxXuU]&?)?'(?:[^'\\]|''|\\(?!'))*(?:\\'.*\Z|'|\Z)
               | \$\$.*?(?:\$\$|\Z)
               | \$(?P<tag>[A-Za-z_]\w*)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<name>   "(?:[^"]|"")*(?:"|\Z) | [^\W\d]\w* | \$\d+ | :[^\W\d]\w* | %\(\w+\)s )
  | (?P<number> 0[xXbBoO][0-9a-fA-F_]+ | (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? )
    """,
    re.VERBOSE | re.DOTALL,
)


def without_literals(sql: str) -> str:
    """``sql`` with each string and number replaced by ``?``, without comments.

    Placeholders of parameters (``$1``, ``:name``, ``%(name)s``) and names in double quotes stay.
    Where it is not certain where a string or comment ends (unterminated, nested, or with a
    backslash before a quote, which databases understand differently), it is taken to reach to the
    end: too much is dropped rather than too little.
    """
    return _TOKENS.sub(_kept, sql).strip()


def _kept(match: re.Match[str]) -> str:
    if match["comment"] is not None:
        return " "
    return "?" if match["name"] is None else match["name"]
