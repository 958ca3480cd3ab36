"""Texts of others as they may be shown: nothing in them hides, moves the cursor or ends a line."""

from __future__ import annotations

import re

LINES = "\n\t"
"""To be kept in texts that have several lines, such as SQL."""

_HIDING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0]"
    "|(?<![\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u27bf\u2900-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff])[\ufe0e\ufe0f](?!\u20e3)"
    "|[\ufe00-\ufe0d\U000e0100-\U000e01ef]"
)
"""What Python calls printable and nobody sees: fillers and joiners, and variation selectors.

Two of these say whether a symbol is text or an emoji: after a symbol and in a keycap, that is seen.
"""

_SPACES = frozenset("\xa0\u1680\u202f\u205f\u3000") | frozenset(map(chr, range(0x2000, 0x200B)))
"""They have a width. Python calls none but the usual one printable."""

# Not looked up as methods of a text: what is no text has to be refused, and there are many.
_is_ascii = str.isascii
_is_printable = str.isprintable


def visible(text: str, longest: int | None = None, *, keep: str = "") -> str:
    r"""The text with what has no shape of its own spelled out, such as ``⟨U+202E⟩``.

    That is all that moves the cursor, ends a line, changes the direction of what follows, or is
    not seen at all. What is spelled out stays as it is when it is made visible again. ``keep`` are
    characters to leave alone: ``LINES``, or a part of it; lines then end with ``\n`` alone. Of a
    text with more than ``longest`` characters, the rest is counted. Raises ``TypeError`` for what
    is no text.
    """
    if longest is None and _is_ascii(text) and _is_printable(text):
        return text
    left_out = 0 if longest is None else len(text) - longest
    if left_out > 0:
        text = text[:longest]
    if "\n" in keep:
        text = text.replace("\r\n", "\n")
    if not text.isprintable():
        text = "".join(c if _is_seen(c) or c in keep else _spelled(c) for c in text)
    if not text.isascii():
        text = _HIDING.sub(_spelled, text)
    return f"{text} … ({left_out:,} more characters)" if left_out > 0 else text


def _is_seen(character: str) -> bool:
    return character.isprintable() or character in _SPACES


def _spelled(character: str | re.Match[str]) -> str:
    return f"⟨U+{ord(character[0]):04X}⟩"
