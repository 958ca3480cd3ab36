"""Texts of a trace as a page may show them, and JSON as it may stand in one."""

from __future__ import annotations

import json
from typing import Any

from poolhog.texts import LINES, visible

LONGEST = 2_000
"""Characters of one text; of a longer one, the rest is counted."""

_ESCAPED = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")}
)


def page_text(text: str) -> str:
    """The text as a page has it: visible, with its lines, and not too long."""
    return visible(text, LONGEST, keep=LINES)


def page_texts(value: Any) -> Any:  # of JSON, which is any
    """The same value of JSON with all of its texts as a page has them."""
    if isinstance(value, str):
        return page_text(value)
    if isinstance(value, dict):
        return {page_texts(key): page_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [page_texts(item) for item in value]
    return value


def embedded(value: Any) -> str:  # of JSON, which is any
    """The value as JSON that no text in it can break out of: neither a tag nor a comment."""
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.translate(_ESCAPED)
