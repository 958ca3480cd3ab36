"""The colours, glyphs and words of each state, for light pages, dark pages and terminals.

The colours differ in lightness as well as in hue, so that they can be told apart without red and
green. All but busy and waiting have textures as well: the most important one, parked, is
hatched.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from poolhog.analysis.accounting import State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class Paint:
    """How a state looks: ``name`` is its CSS class and variable, ``glyph`` its terminal cell.

    ``texture`` is the path of the strokes that repeat on it every 6 px, "" if it is plain.
    """

    name: str
    label: str
    light: str
    dark: str
    terminal: str
    glyph: str
    texture: str = ""


PAINTS: Mapping[State, Paint] = MappingProxyType(
    {
        State.WAITING: Paint(
            "waiting", "waiting for a connection", "#f2b134", "#f0b545", "#e0a100", "░"
        ),
        State.BUSY: Paint(
            "busy", "busy: an operation is in flight", "#1fae84", "#4fd6a8", "#2fc08f", "█"
        ),
        State.BLOCKED: Paint(
            "blocked",
            "blocked: waiting in the database for a lock that another connection holds",
            "#aa5c0e",
            "#a35200",
            "#a35200",
            "▓",
            "M0,3 L6,3 M3,0 L3,6",
        ),
        State.PARKED: Paint(
            "parked",
            "parked: held, awaiting something else",
            "#b01745",
            "#cc3560",
            "#cc2f58",
            "▒",
            "M-1,7 L7,-1 M-1,1 L1,-1 M5,7 L7,5",
        ),
        State.RUNNING: Paint(
            "running",
            "running: held, executing Python",
            "#4053c4",
            "#5b6ff0",
            "#5266e0",
            "═",
            "M0,1.5 L6,1.5 M0,4.5 L6,4.5",
        ),
        State.READY: Paint(
            "ready",
            "ready: held, waiting for its turn to run",
            "#9aaaf2",
            "#c6bfff",
            "#a99fff",
            "─",
            "M1.5,0 L1.5,6 M4.5,0 L4.5,6",
        ),
        State.NOT_HOLDING: Paint("none", "holding none", "#d9e0e9", "#364152", "#7b8794", "·"),
    }
)

STATES: tuple[State, ...] = tuple(state for state in PAINTS if state is not State.NOT_HOLDING)
"""The states of a checkout, in the order of legends and of the page's columns."""

LENT = STATES[1:]
"""The states of a connection that is lent."""

STACKED = (State.PARKED, State.BLOCKED, State.READY, State.RUNNING, State.BUSY)
"""Layers from the bottom up: what matters most has a straight base."""

DRAWN = (
    *(State.NOT_HOLDING, State.READY, State.RUNNING),
    *(State.PARKED, State.BLOCKED, State.WAITING, State.BUSY),
)
"""The order of drawing: what is short and matters comes last, so that nothing hides it."""

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
        "blame1": ("#5b2a86", "#b78df2"),
        "blame2": ("#1f6f9f", "#79c4ff"),
        "blame3": ("#8c3b00", "#e88a4c"),
        "blame4": ("#33415c", "#a3b6d9"),
    }
)

BLAMED = tuple(name for name in SURFACES if name.startswith("blame"))
"""The colours of the places that the most requests wait for, the first place first."""

# What only the page of a report has: its ground, gains, losses, and the line that matters.
PAGE_COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "paper": ("#f6f8fa", "#0b0f15"),
        "good": ("#0f7b5c", "#4fd6a8"),
        "bad": ("#b01745", "#ff7d9f"),
        "mark": ("#ffe7a3", "#5a4512"),
    }
)


def paints_of(states: Collection[State]) -> list[Paint]:
    """The paints of these states, in the order of a legend."""
    return [paint for state, paint in PAINTS.items() if state in states]


TERMINAL_MUTED = "bright_black"
TERMINAL_ACCENT = "#5b93dd"
TERMINAL_WARNING = "bold red"


def css_variables(*, dark: bool, more: Mapping[str, tuple[str, str]] = SURFACES) -> str:
    """Declare every colour as a CSS custom property, such as ``--busy:#1fae84``.

    The paints come first, then ``more`` colours.
    """
    colours = {paint.name: (paint.light, paint.dark) for paint in PAINTS.values()} | dict(more)
    return ";".join(f"--{name}:{pair[dark]}" for name, pair in colours.items())
