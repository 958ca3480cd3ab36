"""The slides of the talk: their titles, and what to say, with the numbers of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.lab.parameters import Experiment
from poolhog.lab.service.settings import Style
from poolhog.render.lifecycle import verdict
from poolhog.render.words import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolhog.lab.results import Results

TITLES: Mapping[str, str] = {
    "T1": "A session for each request",
    "T2": "What its log says",
    "T3": "Where in a request's life the connection is held",
    "T4": "The same with an explicit transaction",
    "T5": "Side by side",
    "T6": "A more realistic example",
    "T7": "Let's test it: as many requests as connections",
    "T8": "More requests than connections",
    "T9": "What the pool was doing",
    "T10": "The solution",
    "T11": "What the pool is doing now",
    "T12": "Let's test it again",
    "T13": "What do programmers love the most? Diagrams!",
    "T14": "Bonus: encode/databases",
    "T15": "Under load",
    "T16": "Summary",
}
"""The title of each slide, in the order of the talk."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "T1": (
        "This is how the documentation of most frameworks shows it. Nothing in this function says "
        "begin or commit.",
        "The first `execute` takes a connection from the pool. Ask the audience when it goes back.",
    ),
    "T2": ("Read the log from top to bottom. Where is the response, and where is the return?",),
    "T3": (
        "Follow the second bar: from the first query until the exit stack, which runs after the "
        "response.",
    ),
    "T4": ("One line more, and the connection goes back before the response is made.",),
    "T5": ("Same work, same statement, same result. Only the return has moved.",),
    "T6": ("Every reviewer would approve this function. Let's test it.",),
    "T7": ("A connection for each request: nobody waits, and nothing looks wrong.",),
    "T8": (
        "Whoever found no connection waited for the external calls of others. The database had "
        "nothing to do meanwhile.",
    ),
    "T9": (
        "Red is a connection that somebody has and nobody uses. Yellow is somebody who needs one.",
    ),
    "T10": (
        "Read in one transaction, call without one, write in another. The row may change in "
        "between: the update checks the version that was read.",
    ),
    "T11": ("The same requests. Look for the connections: they are lent at both ends only.",),
    "T12": ("Old and new side by side. Nothing but the place of the transaction has changed.",),
    "T13": ("Take a moment here: whoever wants to look closer can open these diagrams.",),
    "T14": ("Without a session, each query takes a connection and gives it back at once.",),
    "T15": ("Now with many users, who ask again as soon as they are answered.",),
    "T16": ("Never hold a connection while you wait for something that is not the database.",),
}
"""What to say on each slide that is true of every run."""


def notes(results: Results) -> dict[str, list[str]]:
    """Return what to say on each slide: the talk's words, and what this run measured."""
    measured = dict(_measured(results))
    return {
        slide: [*WORDS[slide], *([measured[slide]] if slide in measured else [])]
        for slide in TITLES
    }


def _measured(results: Results) -> Iterator[tuple[str, str]]:
    """A sentence with the numbers of this run, for each slide that has some."""
    for slide, style in (("T3", Style.IMPLICIT), ("T4", Style.EXPLICIT)):
        get = results.lifecycle_of(style, "GET")
        if get is not None:
            yield slide, f"{verdict(get.lifecycle)}."
    yield "T6", f"The external API takes {seconds(results.parameters.external_latency)}."
    for burst in results.burst:
        if burst.style is Style.IMPLICIT:
            requests = count(burst.requests, "request")
            said = f"{requests}, {count(burst.connections, 'connection')}"
            yield (
                "T7" if burst.waves == 1 else "T8",
                f"{said}: all done after {seconds(burst.makespan)}.",
            )
    for slide, style in (
        ("T9", Style.IMPLICIT),
        ("T11", Style.EXPLICIT),
        ("T14", Style.PER_QUERY),
    ):
        largest = results.burst_of(style, results.parameters.most_requests)
        if largest is not None:
            use = seconds(largest.mean_use)
            yield slide, f"On average, a request has a connection for {use}."
    largest_bursts = results.largest_bursts
    if largest_bursts:
        each = ", ".join(f"{burst.style} {seconds(burst.makespan)}" for burst in largest_bursts)
        yield "T12", f"{count(results.parameters.most_requests, 'request')}: {each}."
    if results.load:
        each = ", ".join(f"{load.style} {load.requests_per_s:.1f}" for load in results.load)
        connections = results.parameters.connections_in(Experiment.LOAD)
        yield "T15", f"Answers per second with {count(connections, 'connection')}: {each}."
