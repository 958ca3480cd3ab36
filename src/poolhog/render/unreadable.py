"""What of a run could not be read: told at the top of whatever a verb says of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from poolhog.render.words import folded_lines, short_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.model import Unreadable

_WARNING = "bold red"


def unreadable_lines(unreadable: Iterable[Unreadable], width: int) -> Iterator[Text]:
    """One sentence for each file, in lines of so many columns."""
    for one in unreadable:
        told = f"Not in this: {short_path(one.file)} {one.reason}."
        for line in folded_lines(told, width):
            yield Text(line, _WARNING)


def unreadable_json(unreadable: Iterable[Unreadable]) -> list[dict[str, Any]]:
    """The value of the key ``unreadable``."""
    return [{"file": one.file, "reason": one.reason} for one in unreadable]
