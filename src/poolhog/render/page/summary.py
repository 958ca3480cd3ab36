"""What is said when a page is written: where it is, how large, and what it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.render.comparison import conclusion
from poolhog.render.page.verdict import verdict
from poolhog.render.words import command_of, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from poolhog.analysis.comparison import Comparison

_NOUNS = {
    "routes": "route",
    "findings": "finding",
    "pools": "pool",
    "processes": "process",
    "sites": "line of code",
    "statements": "statement",
}
_PLURALS = {"process": "processes", "line of code": "lines of code"}


def summary_lines(
    file: Path, data: Mapping[str, Any], size: int, comparison: Comparison | None = None
) -> Iterator[str]:
    """The lines for a terminal: the conclusion first, and last the command to look at the page."""
    sides = data["sides"]
    for side in sides:
        for one in side["report"]["unreadable"]:
            yield f"Not in this: {one['file']} {one['reason']}."
    if comparison is not None:
        yield conclusion(comparison)
    for side in sides:
        named = f"{side['label']}: " if len(sides) > 1 else ""
        yield named + " ".join(verdict(side["report"]))
    yield f"{file}: {size_text(size)}"
    for side in sides:
        told = left_out(side)
        if told:
            yield f"{side['label']}: {told}"
    yield f"Look at it: python3 -m webbrowser {command_of([str(file)])}"


def left_out(side: Mapping[str, Any]) -> str:
    """What the page does not show of a side, in a sentence; "" if it shows all."""
    timeline = side["timeline"]
    parts = []
    total = side["report"]["totals"]["checkouts"]
    if timeline["left_out"]["checkouts"]:
        shown = total - timeline["left_out"]["checkouts"]
        parts.append(
            f"{shown:,} of {count(total, 'checkout')} are shown one by one, all are in the sums"
        )
    if timeline["left_out"]["spans"]:
        number = f"{timeline['left_out']['spans']:,}"
        parts.append(
            f"{number} short spans are added up by state: their checkouts have too many to show "
            "one by one"
        )
    rows = [counted_rows(key, side["left_out"][key]) for key in _NOUNS if side["left_out"].get(key)]
    if rows:
        parts.append(f"{' and '.join(rows)} left out of the tables")
    return "; ".join(parts)


def size_text(size: int) -> str:
    """Such as ``312 KB``, in thousands of bytes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(round(size / 1e3), 1):,} KB"


def counted_rows(key: str, number: int) -> str:
    """Such as ``12 lines of code``, of the rows of a table."""
    noun = _NOUNS[key]
    plural = _PLURALS.get(noun)
    return f"{number:,} {plural}" if plural and number != 1 else count(number, noun)
