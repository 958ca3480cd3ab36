"""A trace in the formats of other programs: a module for each, and one list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.render.export.chrome_trace import CHROME_TRACE
from poolhog.render.export.csv_tables import CSV
from poolhog.render.export.speedscope import SPEEDSCOPE

if TYPE_CHECKING:
    from poolhog.render.export.format import Format

FORMATS: tuple[Format, ...] = (SPEEDSCOPE, CHROME_TRACE, CSV)
"""All formats, in the order in which they are shown: a new one is added here."""


def format_named(name: str) -> Format:
    """The format of this name. Raises ``LookupError`` if there is none."""
    for form in FORMATS:
        if form.name == name:
            return form
    raise LookupError(name)
