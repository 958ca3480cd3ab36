"""``poolhog log``: what one request did with its connections, line by line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.cli.reading import Reading
from poolhog.cli.target import (
    AsJson,
    Directory,
    Pid,
    as_shown,
    lacking,
    read,
    target_words,
    trace_directory,
)
from poolhog.errors import PoolhogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from poolhog.analysis.request_log import RequestLog
    from poolhog.model import Process
    from poolhog.render.output import Hint
    from poolhog.trace.lookup import Found
    from poolhog.trace.reader import ProcessReader

LINES = 60
OTHERS = 3


def log(
    directory: Directory = None,
    *,
    request: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The id of a request. For work outside of requests, the name of a task or thread.",
            callback=as_shown,
        ),
    ] = None,
    slowest: Annotated[
        bool,
        typer.Option(
            "--slowest",
            help="The request that spent most time waiting for connections and holding them. This "
            "is the default.",
        ),
    ] = False,
    route: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The slowest request of the routes whose name contains this text.",
            callback=as_shown,
        ),
    ] = None,
    pid: Pid = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="The most lines to print. 0 prints all.")
    ] = LINES,
    as_json: AsJson = False,
) -> None:
    """Show what one request did with its connections, step by step.

    Example: `poolhog log --slowest`

    Times count from the start of the request. Steps below the arrow happened after the response.
    """
    if request is not None and (slowest or route is not None):
        raise PoolhogError("--request names one request: leave --slowest and --route out")
    from poolhog.analysis.request_log import request_log
    from poolhog.render.losses import loss_lines, losses_json
    from poolhog.render.request_log import request_log_json, request_log_text

    def look(
        readers: Sequence[ProcessReader],
    ) -> tuple[RequestLog, Sequence[Found], Sequence[Process]]:
        found, others = _find(readers, request, route)
        return request_log(found), others, [reader.process for reader in readers]

    with Reading():
        (told, others, recorded), unreadable = read(trace_directory(directory), pid, look)
    if as_json:
        made = {**losses_json(unreadable, recorded), **request_log_json(told)}
        typer.echo(json.dumps(made, indent=2))
        return
    from poolhog.render.output import print_lines, wide_console

    out = wide_console()
    print_lines(out, loss_lines(unreadable, recorded, out.width))
    hints = list(_hints(told, others, directory))
    out.print(request_log_text(told, width=out.width, most_lines=limit, hints=hints))


def _find(
    readers: Sequence[ProcessReader], request: str | None, route: str | None
) -> tuple[Found, Sequence[Found]]:
    """The request that is meant, and the next slowest if it was picked for that."""
    from poolhog.analysis.selection import names_of
    from poolhog.trace.lookup import by_id, longest

    if request is not None:
        found = by_id(readers, request)
        if found is None:
            raise PoolhogError(
                f"no request {request!r}: --request takes an id as poolhog log and poolhog report "
                "print it, or the name of a task or thread"
            )
        return found, ()
    names = None if route is None else names_of(readers, route)
    ranked = [found for _, found in longest(readers, 1 + OTHERS, names=names)]
    if not ranked:
        what = (
            "no connection was asked for"
            if names is None
            else f"{names[0]} asked for no connection"
        )
        raise PoolhogError(lacking(readers) or f"{what}: there is nothing to show")
    return ranked[0], ranked[1:]


def _hints(told: RequestLog, others: Sequence[Found], directory: Path | None) -> Iterator[Hint]:
    from poolhog.render.output import Hint

    target = target_words(directory)
    if others:
        ids = ", ".join(other.id for other in others)
        words = ["log", *target, "--request", others[0].id]
        yield Hint.of(words, f"the next slowest ({ids})")
    words = ["log", *target, "--route", "TEXT"]
    yield Hint.of(words, "the slowest of a route whose name contains it")
    margin = max((told.ended - told.started) / 10, 0.001)
    window = f"{max(told.started - margin, 0.0):.3f}", f"{told.ended + margin:.3f}"
    words = ["timeline", *target, "--from", window[0], "--to", window[1]]
    yield Hint.of(words, "what the others did meanwhile")
