"""Texts of a trace as a page may show them, and JSON as HTML may hold it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from poolhog.analysis.accounting import State
from poolhog.texts import LINES, visible

if TYPE_CHECKING:
    from poolhog.analysis.shown import Span
    from poolhog.model import Site

LONGEST = 2_000
"""Characters of one text that a page shows; the others are counted."""

NONE = -1
"""The number that stands for no text, no site, no lane and no request."""

_ESCAPED = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")}
)


def page_text(text: str) -> str:
    """Return the text with everything visible, its lines kept, and its end cut if it is long."""
    return visible(text, LONGEST, keep=LINES)


def shown(value: object) -> object:
    """Return a template's value with all texts visible; markup was made visible before."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return page_text(value)
    return value


def operation_words(part: Span) -> str:
    """Return what a span of a checkout was spent on; operations added up are counted."""
    is_sum = part.number > 1 and part.state is State.BUSY
    return f"{part.number:,} operations" if is_sum else str(part.kind)


def embedded(value: Any) -> str:  # any value of JSON
    """Return the value as JSON that no text in it can break out of: neither a tag nor a comment.

    Raises ``ValueError`` for numbers that JSON does not have.
    """
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return written.translate(_ESCAPED)


class Interned:
    """Texts, sites and activities, each stored once in the order of first use, known by number."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.sites: list[list[int]] = []
        self.whats: list[list[int]] = []
        self._texts: dict[str, int] = {}
        self._sites: dict[Site, int] = {}
        self._whats: dict[tuple[object, ...], int] = {}
        self.files: dict[int, str] = {}

    def text(self, text: str | None) -> int:
        """Return the number of a text; the stored text is visible."""
        if text is None:
            return NONE
        found = self._texts.get(text)
        if found is None:
            found = self._texts[text] = len(self.texts)
            self.texts.append(page_text(text))
        return found

    def site(self, site: Site | None) -> int:
        """Return the number of a site; its callers have lower numbers."""
        if site is None:
            return NONE
        found = self._sites.get(site)
        if found is not None:
            return found
        caller = NONE
        for frame in site.stack[::-1]:
            known = self._sites.get(frame)
            if known is None:
                known = self._sites[frame] = len(self.sites)
                names = self.text(frame.function), self.text(frame.source)
                file = self.text(frame.file)
                self.files[file] = frame.file
                row = [file, frame.line, *names, caller]
                self.sites.append([*row, int(frame.is_application)])
            caller = known
        return caller

    def what(self, part: Span) -> int:
        """Return the number of the activity in a span of a checkout."""
        key = part.state, *part[3:7]
        found = self._whats.get(key)
        if found is None:
            found = self._whats[key] = len(self.whats)
            kind = self.text(operation_words(part))
            self.whats.append([kind, self.text(part.statement), self.site(part.site)])
        return found
