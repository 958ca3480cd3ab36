"""``poolhog timeline``: who held which connection when, and who waited for one."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - Typer looks the annotation up
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.cli.reading import Reading
from poolhog.cli.target import (
    AsJson,
    Directory,
    Ended,
    Last,
    OfRoute,
    Pid,
    Started,
    check_window,
    read,
    target_words,
    trace_directory,
)
from poolhog.render.losses import loss_lines, losses_json
from poolhog.render.output import console, print_lines
from poolhog.render.svg import MOST_LANES, MOST_ROWS
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolhog.analysis.selection import Selection, View
    from poolhog.model import Process, Unreadable
    from poolhog.render.output import Hint
    from poolhog.trace.reader import ProcessReader

SVG_BINS = 240
JSON_BINS = 100


def timeline(
    directory: Directory = None,
    *,
    started: Started = None,
    ended: Ended = None,
    last: Last = None,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write the timeline as a picture."),
    ] = None,
    route: OfRoute = None,
    pid: Pid = None,
    as_json: AsJson = False,
) -> None:
    """Show which request held which connection, when, and which requests waited.

    Example: `poolhog timeline --last 10`

    Up to 20 requests are drawn one by one (60 in an SVG). With more requests, the timeline shows
    how many connections were in each state, and how many requests waited. Requests that asked for
    no connection are left out.
    """
    check_window(started, ended, last)
    # A large part of the program, which most other verbs do not need.
    from poolhog.analysis.selection import select, view
    from poolhog.render.view import columns_for

    def look(
        readers: Sequence[ProcessReader],
    ) -> tuple[Selection, View, Sequence[Process]]:
        chosen = select(readers, started=started, ended=ended, last=last, route=route)
        most_lanes, bins = MOST_LANES, JSON_BINS if svg is None else SVG_BINS
        if svg is None and not as_json:
            most_lanes, bins = MOST_ROWS, columns_for(chosen)
        shown = view(chosen, most_lanes=most_lanes, bins=bins, tell=reading.tell)
        return chosen, shown, [reader.process for reader in readers]

    with Reading() as reading:
        (chosen, shown, recorded), unreadable = read(trace_directory(directory), pid, look)
    if svg is not None:
        _write(svg, chosen, shown)
    if as_json:
        _print_json(shown, unreadable, recorded)
        return
    out = console(stderr=svg is not None)
    print_lines(out, loss_lines(unreadable, recorded, out.width))
    if svg is None:
        _print(chosen, shown, directory)


def _write(file: Path, chosen: Selection, shown: View) -> None:
    from poolhog.render.output import write_whole
    from poolhog.render.view import summary, view_svg

    write_whole(file, view_svg(chosen, shown))
    typer.echo(visible(f"{file}: {summary(shown)}"), err=True)


def _print_json(shown: View, unreadable: Sequence[Unreadable], recorded: Sequence[Process]) -> None:
    from poolhog.render.view import view_json

    told = {**losses_json(unreadable, recorded), **view_json(shown)}
    typer.echo(json.dumps(told, indent=2))


def _print(chosen: Selection, shown: View, directory: Path | None) -> None:
    from poolhog.render.view import view_text

    out = console()
    hints = list(_hints(shown, directory))
    out.print(view_text(chosen, shown, width=out.width, hints=hints))


def _hints(shown: View, directory: Path | None) -> Iterator[Hint]:
    from poolhog.render.output import Hint
    from poolhog.render.view import crowded

    target = target_words(directory)
    closest = crowded(shown)
    if closest is not None:
        window = f"{closest[0]:.3f}", f"{closest[1]:.3f}"
        words = ["timeline", *target, "--from", window[0], "--to", window[1]]
        yield Hint.of(words, "a closer look at the most crowded column")
        yield Hint.of(["log", *target], "the slowest request, line by line")
    else:
        yield Hint.of(["log", *target, "--request", "ID"], "one of these, line by line")
