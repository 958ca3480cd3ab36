"""Texts of a trace as a page may show them, and JSON as it may stand in one."""

from __future__ import annotations

import json
import re
from typing import Any

LONGEST = 2_000
"""Characters of one text; of a longer one, the rest is counted."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What has no shape of its own, changes the direction of what follows, or cannot be encoded."""

_ESCAPED = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")}
)


def visible(text: str, longest: int = LONGEST) -> str:
    """The text with invisible and reordering characters spelled out, such as ``⟨U+202E⟩``."""
    left_out = len(text) - longest
    if left_out > 0:
        text = text[:longest]
    text = _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
    return f"{text} … ({left_out:,} more characters)" if left_out > 0 else text


def all_visible(value: Any) -> Any:  # of JSON, which is any
    """The same value of JSON with all of its texts visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {all_visible(key): all_visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [all_visible(item) for item in value]
    return value


def embedded(value: Any) -> str:  # of JSON, which is any
    """The value as JSON that no text in it can break out of: neither a tag nor a comment."""
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.translate(_ESCAPED)
