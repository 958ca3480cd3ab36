"""``poolhog run``: a command that records itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path  # noqa: TC003 - Typer looks the annotation up
from typing import Annotated

import typer

from poolhog.cli.target import target_words
from poolhog.errors import PoolhogError
from poolhog.probes import watched_packages
from poolhog.probes.lock_servers import lock_server
from poolhog.recording.attach.command import become, check_recordable
from poolhog.recording.attach.directory import TRACES, default_directory, make_directory
from poolhog.recording.attach.environment import environment
from poolhog.recording.options import SAMPLING_INTERVAL_S, Options
from poolhog.render.output import note
from poolhog.render.words import command_of


def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="What to run, with its arguments.", show_default=False),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            help=f"Where the trace goes; by default a new one in {TRACES}.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Files that are the application's too. May be given repeatedly."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Files that are not the application's. May be given repeatedly."
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            metavar="MILLISECONDS",
            min=0,
            help="Time between two samples of who holds a connection; 0: none.",
        ),
    ] = SAMPLING_INTERVAL_S * 1000,
    source: Annotated[
        bool,
        typer.Option(
            "--source/--no-source",
            help="Whether the text of lines of code is recorded, or only their numbers.",
        ),
    ] = True,
    watch_locks: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask the server at this URL who waits for whose lock, one connection for each "
            "process. It can be the name of an environment variable that holds the URL.",
        ),
    ] = None,
) -> None:
    """Record a command and every Python process that it starts, unchanged.

    The command takes the place of poolhog: its output, its signals and its exit code are its own.
    Processes that use no connection pool leave nothing.
    """
    if not command:
        raise PoolhogError("what is to run? Name it, as in poolhog run -- uvicorn myapp:app")
    options = Options(
        *(tuple(include or ()), tuple(exclude or ()), interval / 1000, source), watch_locks or ""
    )
    if options.watch_locks:
        lock_server(options.watch_locks)  # a wrong URL is told before anything runs
    check_recordable(command)
    directory = output or default_directory()
    make_directory(directory)
    with suppress(OSError):  # the command may do well without a standard error
        note(f"recording into {directory}")
        note(f"to read it, now or later: {_report(output)}")
    become(command, environment(directory, options, watched_packages()))


def _report(output: Path | None) -> str:
    """The shortest command that reads the trace; without a directory it finds the newest."""
    return command_of(["poolhog", "report", *target_words(output)])
