"""The colours, glyphs and words of each state, for light pages, dark pages and terminals.

The colours differ in lightness as well as in hue, so that they can be told apart without red and
green; the most important one, checked out and not in use, is hatched as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Paint:
    """How a state looks: ``name`` is its CSS class and variable, ``glyph`` its terminal cell."""

    name: str
    label: str
    light: str
    dark: str
    terminal: str
    glyph: str


PAINTS: Mapping[State, Paint] = MappingProxyType(
    {
        State.WAITING: Paint(
            "waiting", "waiting for a connection", "#f2b134", "#f0b545", "#e0a100", "░"
        ),
        State.BUSY: Paint(
            "busy", "busy: an operation is in flight", "#1fae84", "#4fd6a8", "#2fc08f", "█"
        ),
        State.GAP: Paint("gap", "checked out, not in use", "#b01745", "#cc3560", "#cc2f58", "▒"),
        State.NOT_HOLDING: Paint("none", "holding none", "#d9e0e9", "#364152", "#7b8794", "·"),
    }
)

# What is not a state: the page, its text and its lines, as (light, dark).
SURFACES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "card": ("#ffffff", "#12171f"),
        "edge": ("#dde3ea", "#2b3441"),
        "ink": ("#1b2430", "#e8edf4"),
        "muted": ("#5a6675", "#9ba8b8"),
        "grid": ("#e8ecf1", "#252d39"),
        "track": ("#f3f5f8", "#1a212b"),
        "accent": ("#3b6fb5", "#79aef0"),
        "plain": ("#a9b6c6", "#5a6b82"),
    }
)

TERMINAL_MUTED = "bright_black"
TERMINAL_ACCENT = "#5b93dd"


def css_variables(*, dark: bool) -> str:
    """Declarations of every colour as a CSS custom property, such as ``--busy:#1fae84``."""
    colours = {paint.name: (paint.light, paint.dark) for paint in PAINTS.values()} | dict(SURFACES)
    return ";".join(f"--{name}:{pair[dark]}" for name, pair in colours.items())
