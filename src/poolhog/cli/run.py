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
        typer.Argument(
            metavar="COMMAND", help="The command to run, with its arguments.", show_default=False
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            help=f"The directory of the trace. By default a new one in {TRACES}.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="More files that belong to the application, such as a package that is installed "
            "with pip. May be given repeatedly.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Files that do not belong to the application. May be given repeatedly.",
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            metavar="MS",
            min=0,
            help="Milliseconds between two samples of the code that holds a connection. 0 turns "
            "sampling off.",
        ),
    ] = SAMPLING_INTERVAL_S * 1000,
    source: Annotated[
        bool,
        typer.Option(
            "--source/--no-source",
            help="Record the text of lines of code, or only files and line numbers.",
        ),
    ] = True,
    watch_locks: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask the database server at this URL which transaction waits for which lock. Each "
            "process opens one more connection. Give the URL, or better the name of an environment "
            "variable that holds it.",
        ),
    ] = None,
) -> None:
    """Record a command and all Python processes that it starts.

    Example: `poolhog run -- uvicorn app:app`

    The command replaces poolhog: its output, signals and exit code stay the same. A process that
    uses no connection pool writes no file.
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
