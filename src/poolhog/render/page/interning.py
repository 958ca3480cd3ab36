"""Texts, sites and activities that columns refer to by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State
from poolhog.render.page.texts import page_text

if TYPE_CHECKING:
    from poolhog.analysis.course import Part
    from poolhog.model import Site

NONE = -1
"""The number of no text, no site and no request."""


class Interned:
    """What is said once, in the order in which it was first referred to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.sites: list[list[int]] = []
        self.whats: list[list[int]] = []
        self._texts: dict[str, int] = {}
        self._sites: dict[Site, int] = {}
        self._whats: dict[tuple[object, ...], int] = {}

    def text(self, text: str | None) -> int:
        """The number of a text, as a page has it."""
        if text is None:
            return NONE
        found = self._texts.get(text)
        if found is None:
            found = self._texts[text] = len(self.texts)
            self.texts.append(page_text(text))
        return found

    def site(self, site: Site | None) -> int:
        """The number of a site; its callers have lower ones."""
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
                row = [self.text(frame.file), frame.line, *names, caller]
                self.sites.append([*row, int(frame.is_application)])
            caller = known
        return caller

    def what(self, part: Part) -> int:
        """The number of what was done in a part of a checkout's course."""
        key = part.state, *part[3:]
        found = self._whats.get(key)
        if found is None:
            found = self._whats[key] = len(self.whats)
            kind = self.text(_kind(part))
            self.whats.append([kind, self.text(part.statement), self.site(part.site)])
        return found


def _kind(part: Part) -> str:
    is_sum = part.number > 1 and part.state is State.BUSY
    return f"{part.number:,} operations" if is_sum else str(part.kind)
