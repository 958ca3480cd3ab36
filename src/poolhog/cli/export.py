"""``poolhog export``: a trace in a file that another program opens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolhog.cli.reading import Reading
from poolhog.cli.target import (
    Directory,
    Ended,
    Last,
    OfRoute,
    Pid,
    Started,
    check_window,
    processes,
    trace_directory,
)
from poolhog.errors import PoolhogError
from poolhog.render import export as exports
from poolhog.render.export.format import Format  # noqa: TC001 - Typer looks the annotation up
from poolhog.render.output import print_lines
from poolhog.render.words import file_size
from poolhog.texts import visible

if TYPE_CHECKING:
    from poolhog.analysis.selection import Extract

STANDARD_OUTPUT = Path("-")
LARGE_MB = 100
"""From this size on, a browser takes long to open a file."""


def _format(name: str) -> Format:
    """The format that is typed."""
    try:
        return exports.format_named(name)
    except LookupError:
        known = ", ".join(repr(form.name) for form in exports.FORMATS)
        raise typer.BadParameter(f"{name!r} is not one of {known}") from None


def _formats() -> str:
    """All formats and what they are for, in a sentence."""
    parts = (", ".join(filter(None, (form.name, form.purpose))) for form in exports.FORMATS)
    return "; ".join(parts) + "."


def export(
    directory: Directory = None,
    *,
    form: Annotated[
        Format,
        typer.Option("--format", metavar="FORMAT", parser=_format, help=_formats()),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write; - is standard output. By default a file in the working "
            "directory, named after the trace.",
            show_default=False,
        ),
    ] = None,
    started: Started = None,
    ended: Ended = None,
    last: Last = None,
    route: OfRoute = None,
    pid: Pid = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the file's name, size and contents as JSON.")
    ] = False,
) -> None:
    """Write a trace in the format of another tool.

    Example: `poolhog export --format speedscope`

    With --from, --to or --last, each checkout and request that overlaps the window is written in
    full.
    """
    check_window(started, ended, last)
    if output == STANDARD_OUTPUT and as_json:
        raise PoolhogError("--json tells about a file: name one with --output")
    from poolhog.analysis.selection import extract, select

    trace = trace_directory(directory)
    file = output if output is not None else Path(trace.resolve().name + form.suffix)
    with Reading() as reading:
        readers = processes(trace, pid)
        chosen = select(readers, started=started, ended=ended, last=last, route=route)
        with extract(chosen, reading.counted) as found:
            shortened = _write(found, form, file)
    if shortened:
        typer.echo(f"poolhog: {_shortened(shortened)}", err=True)
    if file != STANDARD_OUTPUT:
        _tell(found, form, file, as_json=as_json)


def _shortened(times: int) -> str:
    return (
        f"{times:,} times a long statement or line of code is only as far as it begins: "
        "each is in full where it comes first"
    )


def _write(found: Extract, form: Format, file: Path) -> int:
    from poolhog.render.output import whole_file

    if file != STANDARD_OUTPUT:
        with whole_file(file) as out:
            return form.write(found, out)
    if form.binary is not None and sys.stdout.isatty():
        raise PoolhogError(
            f"{form.name} is {form.binary}, which no terminal shows: name a file with -o"
        )
    shortened = form.write(found, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return shortened


def _tell(found: Extract, form: Format, file: Path, *, as_json: bool) -> None:
    size = file.stat().st_size
    if as_json:
        written = {
            "file": str(file),
            "format": form.name,
            "bytes": size,
            "processes": [part.process.pid for part in found.parts],
            "checkouts": found.checkouts,
        }
        typer.echo(json.dumps(written, indent=2))
        return
    from poolhog.analysis.liveness import ages
    from poolhog.render.losses import unseen_lines
    from poolhog.render.output import wide_console
    from poolhog.render.words import count, folded_lines

    out = wide_console()
    recorded = [part.process for part in found.parts]
    print_lines(out, unseen_lines(recorded, ages(recorded)))
    of = count(len(recorded), "process")
    told = f"{file}: {count(found.checkouts, 'checkout')} of {of}, {file_size(size)}."
    if form.is_for_browsers and size > LARGE_MB * 1e6:
        told += " That is much for a browser: --from, --to and --route take a part."
    for line in folded_lines(visible(told), out.width):
        out.print(line)
    out.print(form.hint(file).text(out.width))
