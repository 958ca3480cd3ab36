"""The last lines of a verb: commands to type next, and what they show."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rich.text import Text

from poolhog.render.palette import TERMINAL_ACCENT, TERMINAL_MUTED


@dataclass(frozen=True, slots=True)
class Hint:
    """A command to type next, and what it shows."""

    command: str
    why: str

    @classmethod
    def of(cls, words: list[str], why: str) -> Hint:
        """The command of these words."""
        return cls(shlex.join(["poolhog", *words]), why)

    def text(self, width: int) -> Text:
        """For a terminal of so many columns."""
        fits = len(self.command) + 2 + len(self.why) <= width
        between = "  " if fits else "\n  "
        return Text.assemble((self.command, TERMINAL_ACCENT), (between + self.why, TERMINAL_MUTED))
