"""What is missing from a trace: every verb says so before it shows anything else.

A file may be unreadable, facts may have been dropped or could not be written, a process may have
died or may not have written for a while, and something may still be open at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from poolhog.analysis.liveness import LATE_S
from poolhog.render.output import paragraph
from poolhog.render.palette import TERMINAL_MUTED, TERMINAL_WARNING
from poolhog.render.words import count, listed_pids, seconds, short_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolhog.model import Process, Unreadable

    Json = Mapping[str, Any]


STALLED = "the interpreter has not run poolhog's thread since"
"""Why a process that runs has not written for longer than it should have."""


def losses_json(unreadable: Iterable[Unreadable], processes: Iterable[Process]) -> dict[str, Any]:
    """The keys ``unreadable`` and ``missing``, which every verb's JSON begins with."""
    told = [{"file": one.file, "reason": one.reason} for one in unreadable]
    return {"unreadable": told, "missing": missing_json(processes)}


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


def loss_lines(
    unreadable: Iterable[Unreadable],
    processes: Iterable[Process],
    width: int,
    kept: int | None = None,
) -> Iterator[Text]:
    """A sentence for each unreadable file, and one on what could not be written.

    They are in lines of ``width`` columns. ``kept`` is as for ``missing_told``.
    """
    sentences = [f"Not in this: {short_path(one.file)} {one.reason}." for one in unreadable]
    every = tuple(processes)
    told = (missing_told(missing_json(every), kept), unrecorded_told(every))
    for sentence in (*sentences, *(one for one in told if one is not None)):
        yield from paragraph(sentence, width, TERMINAL_WARNING)


def missing_told(missing: Sequence[Json], kept: int | None = None) -> str | None:
    """A sentence on the entries of ``missing_json``, ``None`` if there are none.

    ``kept`` is the number of checkouts that were written, if it is shown next to the sentence.
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


def unrecorded_told(processes: Iterable[Process]) -> str | None:
    """A sentence on pools that were used and that poolhog does not record."""
    pools = list(dict.fromkeys(pool for process in processes for pool in process.unrecorded))
    if not pools:
        return None
    names = " and ".join([", ".join(pools[:-1]), pools[-1]] if len(pools) > 1 else pools)
    be = "is" if names.endswith("pool") and len(pools) == 1 else "are"
    return f"{names} {be} not recorded: nothing of what used them is in this."


def dropped_told(process: Process) -> str | None:
    """How much the recorder dropped, such as ``3 facts dropped, 1 fault``; ``None`` if nothing."""
    if not process.dropped and not process.errors:
        return None
    return f"{count(process.dropped, 'fact')} dropped, {count(process.errors, 'fault')}"


def end_told(lent: int, waiting: int, *, is_cut_off: bool) -> str:
    """How many connections were lent, and how many requests waited, at the end of the trace.

    In a run that ``is_cut_off``, it is not known whether that was so at the run's own end.
    """
    what = "lent" if is_cut_off else "not returned"
    parts = [f"{count(lent, 'connection')} {what}"] if lent else []
    parts += [f"{count(waiting, 'request')} waiting for one"] if waiting else []
    told = ", ".join(parts)
    if is_cut_off:
        return f"At the last commit: {told}. How that ended could not be written."
    return f"At its end: {told}."


def unseen_lines(processes: Sequence[Process], running: Mapping[int, float]) -> Iterator[Text]:
    """Lines about facts that the recorder dropped, and about processes whose end it did not see.

    ``running`` are the ages in seconds of the last commits of those that still run, by their ids.
    """
    for process in processes:
        lost = dropped_told(process)
        if lost is not None:
            told = f"The recorder did not see everything of process {process.pid}: {lost}."
            yield Text(told, TERMINAL_WARNING)
    unfinished = [process for process in processes if not process.finished]
    ended = [p.pid for p in unfinished if p.pid not in running and not p.is_cut_off]
    if ended:
        told = f"{listed_pids(ended)} exited abnormally: the last moments may be missing."
        yield Text(told.capitalize(), TERMINAL_MUTED)
    late = [p.pid for p in unfinished if running.get(p.pid, 0.0) > LATE_S and not p.is_cut_off]
    for pid in late:
        told = (
            f"Process {pid} is still running, but its last commit is {seconds(running[pid])} old: "
            f"{STALLED}. Results up to then."
        )
        yield Text(told, TERMINAL_WARNING)
    fresh = [p.pid for p in unfinished if p.pid in running and p.pid not in late]
    if fresh:
        verb = "is" if len(fresh) == 1 else "are"
        told = f"{listed_pids(fresh)} {verb} still running; results so far."
        yield Text(told.capitalize(), TERMINAL_MUTED)
