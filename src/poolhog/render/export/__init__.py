"""A trace in the formats of other programs, one module for each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from poolhog.render.export.facts import LongTexts

if TYPE_CHECKING:
    from typing import BinaryIO

    from poolhog.analysis.extract import Extract


class Format(StrEnum):
    """The formats."""

    SPEEDSCOPE = "speedscope"
    CHROME_TRACE = "chrome-trace"
    CSV = "csv"

    @property
    def suffix(self) -> str:
        """What names of its files end with."""
        return _SUFFIXES[self]


_SUFFIXES = {
    Format.SPEEDSCOPE: ".speedscope.json",
    Format.CHROME_TRACE: ".trace.json",
    Format.CSV: ".csv.zip",
}


def write(extract: Extract, form: Format, out: BinaryIO) -> int:
    """Write the extract, as it is read: it need not fit into memory.

    Returns how often a long text was shortened, as it was written in full before.
    """
    long_texts = LongTexts()
    # Each has what no other verb needs.
    if form is Format.CSV:
        from poolhog.render.export.csv_tables import write_csv

        write_csv(extract, out)
        return 0
    if form is Format.SPEEDSCOPE:
        from poolhog.render.export.speedscope import speedscope

        texts = speedscope(extract)
    else:
        from poolhog.render.export.chrome_trace import chrome_trace

        texts = chrome_trace(extract, long_texts)
    for text in texts:
        out.write(text.encode())
    return long_texts.shortened
