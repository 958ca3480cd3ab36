"""What of a run could not be written: told before whatever a verb says of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from poolhog.render.words import count, folded_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.model import Process

    Json = Mapping[str, Any]

_WARNING = "bold red"


def missing_json(processes: Iterable[Process]) -> list[dict[str, Any]]:
    """The value of the key ``missing``: an entry for each process that lacks something."""
    return [
        {
            "pid": process.pid,
            "checkouts": process.missing_checkouts,
            "facts": process.missing_facts,
            "reason": process.missing_reason,
        }
        for process in processes
        if process.missing_reason is not None
    ]


def missing_told(missing: Sequence[Json], kept: int | None = None) -> str | None:
    """One sentence on such entries, ``None`` if there are none.

    ``kept`` is how many checkouts were written, if what follows counts them.
    """
    if not missing:
        return None
    why = ", ".join(dict.fromkeys(one["reason"] for one in missing))
    checkouts = sum(one["checkouts"] for one in missing)
    if checkouts and kept is not None:
        asked = count(kept + checkouts, "checkout")
        return f"{checkouts:,} of {asked} could not be written ({why}): totals are too low."
    if checkouts:
        be = "it is" if checkouts == 1 else "they are"
        return f"{count(checkouts, 'checkout')} could not be written ({why}): {be} not in this."
    facts = sum(one["facts"] for one in missing)
    if facts:
        return f"{count(facts, 'fact')} could not be written ({why}): the end may be missing."
    return f"The last attempt to write failed ({why}): the end may be missing."


def missing_lines(
    processes: Iterable[Process], width: int, kept: int | None = None
) -> Iterator[Text]:
    """The sentence on what these processes lack, in lines of ``width`` columns."""
    told = missing_told(missing_json(processes), kept)
    for line in folded_lines(told, width) if told is not None else ():
        yield Text(line, _WARNING)
