"""How conclusions about the holders of connections read, in one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.analysis.holders import Reason
from poolhog.render.words import count, listed, path_and_line, seconds

if TYPE_CHECKING:
    from poolhog.analysis.dump import Held
    from poolhog.analysis.holders import Conclusion, Part
    from poolhog.model import Checkout

_MOST_PARTS = 3

_ALL = {
    Reason.NESTED: "held by requests that wait for {another} at {line}",
    Reason.LOST: "lost: the tasks or threads that took them at {line} are gone",
    Reason.BUSY: "busy with an operation that was asked for at {line}",
    Reason.BLOCKED: "held by statements that wait for a lock, asked for at {line}",
    Reason.PARKED: "parked at {line}",
    Reason.RUNNING: "held by Python code that is running at {line}",
    Reason.READY: "held by code that could go on, but {line} runs instead",
    Reason.UNSEEN: "not in use; they were asked for at {line}",
}
"""What is said if it is true of all connections of a pool."""

_SOME = {
    Reason.NESTED: "wait for {another} at {line}",
    Reason.LOST: "lost, taken at {line}",
    Reason.BUSY: "busy at {line}",
    Reason.BLOCKED: "blocked at {line}",
    Reason.PARKED: "parked at {line}",
    Reason.RUNNING: "running at {line}",
    Reason.READY: "ready, but {line} runs instead",
    Reason.UNSEEN: "not in use, asked for at {line}",
}
"""What follows the number of connections of which it is true."""


def conclusion_told(one: Conclusion) -> str:
    """The conclusion in one sentence, such as "All 5 connections of pool main are parked at …"."""
    where = f"pool {one.name}"
    if len(one.pools) > 1:
        where += f" in {len(one.pids):,} processes" if len(one.pids) > 1 else " (several of it)"
    if len(one.parts) == 1:
        deadlock = ": this is a deadlock" if one.is_deadlock else ""
        return f"{_subject(one, where)} {_told(one.parts[0], _ALL)}{deadlock}."
    if one.held == one.capacity:
        lead = f"All {count(one.held, 'connection')} of {where} are lent"
    elif one.capacity is not None:
        lead = f"{one.held:,} of {count(one.capacity, 'connection')} of {where} are lent"
    else:
        lead = f"{count(one.held, 'connection')} of {where} are lent"
    deadlock = "; this is a deadlock" if one.is_deadlock else ""
    parts = [f"{part.connections:,} {_told(part, _SOME)}" for part in one.parts]
    return f"{lead}: {listed(parts, _MOST_PARTS, 'other line')}{deadlock}."


def _subject(one: Conclusion, where: str) -> str:
    """What is lent: all of the pool, or all that is out of it."""
    is_whole = one.held == one.capacity
    if one.held == 1:
        return f"The {'only' if is_whole else 'one lent'} connection of {where} is"
    lent = "" if is_whole else "lent "
    if one.held == 2:
        return f"Both {lent}connections of {where} are"
    return f"All {one.held:,} {lent}connections of {where} are"


def _told(part: Part, words: dict[Reason, str]) -> str:
    another = "a second one" if part.is_same_pool else "one of another pool"
    text = words[part.reason]
    if part.connections == 1 and words is _ALL:
        text = _ONE.get(part.reason, text)
    return text.format(another=another, line=path_and_line(part.line))


_ONE = {
    Reason.NESTED: "held by a request that waits for {another} at {line}",
    Reason.LOST: "lost: the task or thread that took it at {line} is gone",
    Reason.BLOCKED: "held by a statement that waits for a lock, asked for at {line}",
    Reason.UNSEEN: "not in use; it was asked for at {line}",
}
"""What is said if there is only one connection, where that differs."""


def asker(checkout: Checkout) -> str:
    """The request, with what it asked for if its route does not say that; or the owner."""
    request = checkout.request
    if request is None:
        return checkout.owner
    is_told = request.route in (None, request.path)
    return request.name if is_told else f"{request.name} ({request.path})"


def askers(checkouts: list[Checkout]) -> str:
    """The requests by their names, each with how many there are of it."""
    names: dict[str, int] = {}
    for checkout in checkouts:
        name = checkout.request.name if checkout.request is not None else checkout.owner
        names[name] = names.get(name, 0) + 1
    told = [f"{name} ({number:,}x)" if number > 1 else name for name, number in names.items()]
    return listed(told, 2)


def state_told(held: Held) -> str:
    """The state of a connection and for how long it has been so, such as ``parked for 5 s``."""
    state = held.state.value if held.state is not None else "not in use"
    return f"{state} for {seconds(held.state_seconds)}"
