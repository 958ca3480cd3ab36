"""Who holds what, for a person at a terminal: the conclusion, then holders with equal stacks."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from poolhog.analysis.accounting import State
from poolhog.analysis.holders import alike, alike_waiting, conclusions, holdings
from poolhog.analysis.liveness import Liveness
from poolhog.render.dump_json import written_at
from poolhog.render.holders import asker, askers, conclusion_told
from poolhog.render.losses import STALLED, dropped_told
from poolhog.render.output import paragraph
from poolhog.render.palette import PAINTS, TERMINAL_MUTED, TERMINAL_WARNING
from poolhog.render.stacks import stack_lines
from poolhog.render.words import count, listed, listed_pids, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.dump import Held, PoolDump, ProcessDump, Waiting
    from poolhog.analysis.holders import Holding
    from poolhog.model import Checkout, Operation, Process

_MOST_CONCLUSIONS = 3
_MOST_GROUPS = 5
_MOST_CONNECTIONS = 5


def dump_text(dumps: Sequence[ProcessDump], *, every: bool, width: int, next_command: str) -> Text:
    """The dump in ``width`` columns.

    Holders with equal stacks are shown as one, and library frames are folded; with ``every``, each
    connection and each request that waits has its own whole stack.
    """
    known = [
        line for told in known_told(dumps) for line in paragraph(told, width, TERMINAL_WARNING)
    ]
    blocks = [Text("\n").join([*known, *_conclusions(dumps, width)])]
    shown = [dump for dump in dumps if dump.pools or dump.liveness is not Liveness.FINISHED]
    for dump in shown or dumps[-1:]:
        blocks.append(_process_line(dump, width))
        of_pools = holdings(dump)
        for pool in dump.pools:
            lines = _pool_lines(pool, of_pools[pool.pool.id], every=every, width=width)
            blocks.append(Text("\n").join(lines))
    others = len(dumps) - len(shown)
    if shown and others:
        blocks.append(Text(f"{count(others, 'other process')} finished", TERMINAL_MUTED))
    blocks.append(Text(f"For all that was recorded: {next_command}", TERMINAL_MUTED))
    return Text("\n\n").join(blocks)


def _conclusions(dumps: Sequence[ProcessDump], width: int) -> Iterator[Text]:
    """Why connections are not back, and how many there are."""
    found = conclusions(dumps)
    for one in found[:_MOST_CONCLUSIONS]:
        yield from paragraph(conclusion_told(one), width, "bold")
    yield Text(verdict(dumps), "" if found else "bold")


def known_told(dumps: Sequence[ProcessDump]) -> Iterator[str]:
    """Sentences about processes whose last commit is old: they may have lent more since."""
    late = [dump for dump in dumps if dump.is_late]
    if late:
        oldest = max(late, key=lambda dump: dump.age or 0.0)
        of = f" of {_pids(late)}" if len(dumps) > 1 else ""
        failing = _failing(oldest.process)
        why = failing or STALLED
        what = "what was known then" if failing else "the least that is lent; more may be"
        yield (
            f"The last commit{of} is {seconds(oldest.age or 0.0)} old: {why}. "
            f"What follows is {what}."
        )
    dead = [d for d in dumps if d.liveness is Liveness.DEAD and not d.process.is_cut_off]
    if dead:
        at = f", {_time(dead[0].process, milliseconds=True)}" if len(dead) == 1 else ""
        yield (
            f"{_pids(dead).capitalize()} died. What follows is known as of the last commit{at}, "
            "and is the least that was lent; more may have been."
        )
    yield from (
        f"{_pids([dump]).capitalize()} has ended. What follows is known as of the last commit, "
        f"{_time(dump.process, milliseconds=True)}; {_failing(dump.process)} since then."
        for dump in dumps
        if dump.liveness is Liveness.DEAD and dump.process.is_cut_off
    )


def _pids(dumps: Sequence[ProcessDump]) -> str:
    return listed_pids([dump.process.pid for dump in dumps])


def _failing(process: Process) -> str:
    """Why nothing could be written at last; "" if it is not known that it could not."""
    return f"writing failed ({process.missing_reason})" if process.is_cut_off else ""


def verdict(dumps: Sequence[ProcessDump]) -> str:
    """How many connections are lent, and how many requests wait for one."""
    is_minimum = any(dump.is_minimum for dump in dumps)
    pools = [pool for dump in dumps for pool in dump.pools]
    held = [held for pool in pools for held in pool.held]
    waiting = [waiting for pool in pools for waiting in pool.waiting]
    if not held and not waiting and is_minimum:
        return "At the last commit, no connection was lent, and nobody waited for one."
    if not held and not waiting:
        return "No connection is lent, and nobody waits for one."
    unused = [h for h in held if h.state not in (State.BUSY, State.BLOCKED)]
    then = "At the last commit: " if is_minimum else ""
    lent = f"{then}{count(len(held), 'connection')} lent"
    found = f"{lent}, {len(unused)} of them without an operation"
    if waiting:
        found += f"; {_waits(waiting)}"
    return found + "."


def _waits(waiting: Sequence[Waiting]) -> str:
    longest = seconds(max(one.seconds for one in waiting))
    if len(waiting) == 1:
        return f"1 request waits for one, for {longest}"
    return f"{len(waiting):,} requests wait for one, the longest for {longest}"


_LIVENESS = {
    Liveness.RUNNING: ("running, as of {time}", "green"),
    Liveness.SILENT: ("has written nothing since {time}: {why}", "bold"),
    Liveness.FINISHED: ("finished at {time}", TERMINAL_MUTED),
    Liveness.DEAD: ("died; this is how it stood at {time}", TERMINAL_WARNING),
}
_SILENT = "it is stopped, its interpreter is kept from running, or its pid is another's now"
_NOTHING_THEN = "nothing was lent then, nobody waited"


def _process_line(dump: ProcessDump, width: int) -> Text:
    process = dump.process
    told, style = _LIVENESS[dump.liveness]
    why = _failing(process) or _SILENT
    if dump.liveness is Liveness.DEAD and process.is_cut_off:
        told = "ended; this is how it stood at {time}"
    life = Text(told.format(time=_time(process), why=why), style)
    line = Text.assemble((f"process {process.pid}", "bold"), " ", life)
    command = Text(" ".join(_command(process.argv)), TERMINAL_MUTED)
    command.truncate(max(width - len(line) - 2, 0), overflow="ellipsis")
    line = Text.assemble(line, "  ", command) if len(command) else line
    lost = dropped_told(process)
    if lost is not None:
        line.append(f"\n  The recorder did not see everything: {lost}.", TERMINAL_WARNING)
    if not dump.pools:
        nothing = _NOTHING_THEN if dump.is_minimum else "nothing is lent, nobody waits"
        line.append(f"\n  {nothing}", TERMINAL_MUTED)
    return line


def _time(process: Process, *, milliseconds: bool = False) -> str:
    """When the process last wrote, with the day if that was not today."""
    at = written_at(process)
    day = "" if at.date() == datetime.now().astimezone().date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M:%S}{f'.{at.microsecond // 1000:03}' if milliseconds else ''}"


def _command(argv: Sequence[str]) -> Sequence[str]:
    """The command as it was typed, or nearly: without the interpreter, and programs by name."""
    if len(argv) < 2:
        return argv
    return [Path(argv[1]).name if argv[1].startswith(os.sep) else argv[1], *argv[2:]]


def _pool_lines(
    pool: PoolDump, holders: Sequence[Holding], *, every: bool, width: int
) -> Iterator[Text]:
    yield _pool_line(pool)
    for some in [(one,) for one in holders] if every else alike(holders):
        yield Text()
        yield from held_lines([one.held for one in some], every=every, width=width)
    groups = [(one,) for one in pool.waiting] if every else alike_waiting(pool.waiting)
    shown = groups if every else groups[:_MOST_GROUPS]
    for waiting in shown:
        yield Text()
        yield from waiting_lines(waiting, every=every, width=width)
    more = sum(len(waiting) for waiting in groups[len(shown) :])
    if more:
        yield Text(f"\n  … and {more:,} more wait at other lines; --all shows them", TERMINAL_MUTED)


def _pool_line(pool: PoolDump) -> Text:
    capacity = pool.pool.capacity
    line = Text.assemble(
        f"  pool {pool.pool.name} ",
        (f"({pool.pool.library})", TERMINAL_MUTED),
        f": {len(pool.held)}{f' of {capacity}' if capacity is not None else ''} lent",
    )
    if pool.waiting:
        exhausted = "exhausted, " if pool.is_exhausted else ""
        line.append(f", {exhausted}{len(pool.waiting):,} waiting", "bold")
    return line


def held_lines(some: Sequence[Held], *, every: bool, width: int) -> Iterator[Text]:
    """One connection, or several whose holders have equal stacks."""
    held = some[0]
    yield _who_holds(some, width)
    if held.last is not None:
        yield _last(held, held.last, width)
    yield _doing(held)
    if held.site is not None:
        yield from stack_lines(held.site, every=every, width=width)
    else:
        yield from _asked(held.checkout, every=every, width=width)


def _who_holds(some: Sequence[Held], width: int) -> Text:
    held = some[0]
    longest = seconds(held.seconds)
    if len(some) == 1:
        return Text.assemble(
            (f"  connection {held.checkout.connection}", "bold"),
            f"  held for {longest} by ",
            (asker(held.checkout), "bold"),
        )
    numbers = [str(o.checkout.connection) for o in some if o.checkout.connection is not None]
    told = f" ({listed(numbers, _MOST_CONNECTIONS)})" if numbers else ""
    line = Text.assemble(
        (f"  {len(some):,} connections", "bold"),
        f"{told}  held for up to {longest} by ",
        (askers([one.checkout for one in some]), "bold"),
    )
    line.truncate(width, overflow="ellipsis")
    return line


def _last(held: Held, last: Operation, width: int) -> Text:
    """The operation in flight, or the last one, cut to the width."""
    told = str(last.kind)
    if held.statement is not None:
        sql = " ".join(held.statement.split())
        told = sql if last.statement is not None else f"{last.kind} after {sql}"
    lead = "    in flight  " if last.ended is None else "    last       "
    tail = "" if last.ended is None else f"  {seconds(held.idle_seconds)} ago"
    tail += f", {last.error}" if last.error is not None else ""
    line = Text(told)
    line.truncate(max(width - len(lead) - len(tail), 20), overflow="ellipsis")
    return Text.assemble((lead, TERMINAL_MUTED), line, (tail, TERMINAL_MUTED))


def _doing(held: Held) -> Text:
    """The state, and what the frames below it are."""
    lasted = f" for {seconds(held.state_seconds)}"
    if held.in_transaction and held.state not in (State.BUSY, State.BLOCKED):
        lasted += " in a transaction"
    if held.state is None:
        return Text(f"    not in use{lasted}; there is no sample")
    lasted += f" by {held.blocker}" if held.blocker is not None else ""
    state = (f"    {held.state.value}", f"bold {PAINTS[held.state].terminal}")
    return Text.assemble(state, lasted, _frames(held, held.state))


def _frames(held: Held, state: State) -> str:
    """The words that introduce the frames below, or say why there are none."""
    if held.site is None:
        return _UNSEEN_INSTEAD if state is State.READY else _UNSEEN
    if state is State.BUSY and (held.last is None or held.last.ended is not None):
        return ": a library waits for the database at"
    return _FRAMES[state]


_FRAMES = {
    **dict.fromkeys((State.BUSY, State.BLOCKED), ", asked for at"),
    **dict.fromkeys((State.PARKED, State.RUNNING), " at"),
    State.READY: ": it could go on, but this runs instead",
}
_UNSEEN = "; its owner cannot be seen, or is gone"
_UNSEEN_INSTEAD = ": it could go on, and nothing in particular runs instead"


def waiting_lines(some: Sequence[Waiting], *, every: bool, width: int) -> Iterator[Text]:
    """A request that waits, or several that asked at equal stacks."""
    waiting = some[0]
    paint = PAINTS[State.WAITING].terminal
    is_one = len(some) == 1
    line = Text.assemble(
        ("  waiting" if is_one else f"  {len(some):,} waiting", f"bold {paint}"),
        f"  for {'' if is_one else 'up to '}{seconds(waiting.seconds)}: ",
        (asker(waiting.checkout) if is_one else askers([w.checkout for w in some]), "bold"),
        f", {waiting.operation} in flight" if waiting.operation is not None else "",
    )
    if not is_one:
        line.truncate(width, overflow="ellipsis")
    yield line
    yield from _asked(waiting.checkout, every=every, width=width)


def _asked(checkout: Checkout, *, every: bool, width: int) -> Iterator[Text]:
    if checkout.site is not None:
        yield Text("    asked for the connection at", TERMINAL_MUTED)
        yield from stack_lines(checkout.site, every=every, width=width)
