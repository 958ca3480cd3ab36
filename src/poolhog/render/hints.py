"""The last lines of a verb: commands to type next, and what they show."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.render.palette import TERMINAL_ACCENT, TERMINAL_MUTED
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Hint:
    """A command to type next, and what it shows."""

    command: str
    why: str

    @classmethod
    def of(cls, words: list[str], why: str) -> Hint:
        """The command of these words."""
        return cls(command_of(["poolhog", *words]), why)

    def text(self, width: int) -> Text:
        """For a terminal of so many columns."""
        fits = len(self.command) + 2 + len(self.why) <= width
        between = "  " if fits else "\n  "
        return Text.assemble((self.command, TERMINAL_ACCENT), (between + self.why, TERMINAL_MUTED))


def command_of(words: Iterable[str]) -> str:
    r"""The words as a shell takes them; what is not to be seen is written as bytes.

    That is ``$'\x1b'``, which all shells but the oldest know.
    """
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if visible(word) == word:
        return shlex.quote(word)
    escaped = "".join(c if c in _PLAIN else _bytes(c) for c in word)
    return f"$'{escaped}'"


_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) - frozenset("\\'")


def _bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
