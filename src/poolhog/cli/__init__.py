"""The command line: one module per verb; a verb validates, calls, prints."""

from __future__ import annotations

import errno
import io
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from poolhog.cli.compare import compare
from poolhog.cli.dump import dump
from poolhog.cli.export import export
from poolhog.cli.help import Verb, Verbs
from poolhog.cli.lab import lab
from poolhog.cli.log import log
from poolhog.cli.report import report
from poolhog.cli.run import run
from poolhog.cli.sql import sql
from poolhog.cli.timeline import timeline
from poolhog.cli.top import top
from poolhog.cli.whatif import whatif
from poolhog.errors import Interrupted, PoolhogError
from poolhog.render.output import note

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="poolhog",
    cls=Verbs,
    help="""Finds the code that hogs your database connection pool.

    Record with `poolhog run -- uvicorn app:app`, then read the result with `poolhog report`.
    """,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order in which a user needs them; --help lists them so.
# What comes after the command's name is the command's, options too.
app.command(cls=Verb, context_settings={"allow_interspersed_args": False})(run)
for verb in (report, timeline, log, whatif, compare, top, dump, export, sql, lab):
    app.command(cls=Verb)(verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"poolhog {metadata.version('poolhog')}")
        raise typer.Exit


@app.callback()
def poolhog(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Finds the code that hogs your database connection pool."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a verb and exit: 0 if all is well, 1 if a gate failed, 2 for a user's mistake."""
    _print_what_can_be_printed()
    try:
        code = app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except PoolhogError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", Interrupted.exit_code)
    except TyperException as error:
        message = error.format_message()
        if not message:  # no verb was given, and the help has been printed
            sys.exit(error.exit_code)
        _fail(f"{message.rstrip('.')}: see poolhog --help", error.exit_code)
    except OSError as error:
        if error.filename is not None or error.errno not in _NO_ROOM:
            raise
        _give_up_output()
        _fail(
            f"the output cannot be written ({error.strerror}): make room, or send it elsewhere", 2
        )
    if code == Interrupted.exit_code:  # Typer's own answer to Ctrl-C, which says nothing
        _fail("interrupted", code)
    sys.exit(code if isinstance(code, int) else 0)


_NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])


def _print_what_can_be_printed() -> None:
    """A character that the terminal's encoding does not have is a question mark, and no failure."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _give_up_output() -> None:
    """Discard unwritten output: writing it would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(line: str, code: int) -> NoReturn:
    note(" ".join(line.split()))
    sys.exit(code)
