"""``poolhog whatif``: what the run would have come to if something had been otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolhog.cli.amounts import duration, number_or_range
from poolhog.cli.reading import Reading
from poolhog.cli.target import (
    AsJson,
    Directory,
    Pid,
    as_shown,
    lacking,
    read,
    target_words,
    thresholds_of,
    trace_directory,
)
from poolhog.errors import PoolhogError
from poolhog.texts import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolhog.analysis.findings import Finding
    from poolhog.analysis.replay.formulas import FormulaTarget
    from poolhog.analysis.replay.study import OptionRange, Study
    from poolhog.analysis.replay.whatif import ParkedLine, WhatIf
    from poolhog.trace.reader import ProcessReader

_MOST_CANDIDATES = 4


def whatif(
    directory: Directory = None,
    *,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SITE",
            help="Assume that this line holds no connection while it is parked: FILE:LINE, a "
            "function, the number of a finding in the report, or all. May be given repeatedly.",
            callback=as_shown,
        ),
    ] = None,
    pool_size: Annotated[
        str | None,
        typer.Option(metavar="N|A..B", help="The size of each pool, or a range of sizes."),
    ] = None,
    max_overflow: Annotated[
        str | None,
        typer.Option(metavar="N|A..B", help="Connections that each pool may open beyond its size."),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N|A..B", help="The number of processes, each with its own pools."),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            metavar="N|A..B",
            help="The number of users who each send one request after the other (a closed loop).",
        ),
    ] = None,
    think: Annotated[
        str,
        typer.Option(
            metavar="S", help="Seconds between an answer and the same user's next request."
        ),
    ] = "0",
    is_open: Annotated[
        bool,
        typer.Option(
            "--open", help="Keep the recorded arrival times, even if they look like a closed loop."
        ),
    ] = False,
    rate: Annotated[
        float,
        typer.Option(metavar="X", min=1e-3, max=1e3, help="Multiply the requests per second by X."),
    ] = 1.0,
    external_latency: Annotated[
        float,
        typer.Option(metavar="X", min=0, max=1e3, help="Scale all non-database time by X."),
    ] = 1.0,
    wait_target: Annotated[
        str, typer.Option(metavar="T", help="The longest acceptable p95 wait.")
    ] = "50ms",
    hosts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of hosts running this service.")
    ] = 1,
    max_connections: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The connections that the database server allows."),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write the curve of a range as a picture."),
    ] = None,
    pid: Pid = None,
    as_json: AsJson = False,
) -> None:
    """Replay the recorded requests, and predict the outcome with different settings.

    Example: `poolhog whatif --release 1`

    Without an option, poolhog replays the run unchanged and prints how far the replay is from the
    recording.
    """
    from poolhog.analysis.replay.formulas import FormulaTarget
    from poolhog.analysis.replay.whatif import WhatIf

    ranges = {
        "pool_size": ("--pool-size", pool_size, 1),
        "max_overflow": ("--max-overflow", max_overflow, 0),
        "workers": ("--workers", workers, 1),
        "users": ("--users", users, 1),
    }
    given = {
        name: number_or_range(option, text, least)
        for name, (option, text, least) in ranges.items()
        if text is not None
    }
    over = _range(given, svg)
    fixed: dict[str, Any] = {name: first for name, (first, last) in given.items() if first == last}
    terms = WhatIf(
        **fixed,
        rate=rate,
        external_latency=external_latency,
        think=duration("--think", think),
    )
    if is_open and (users is not None or terms.think):
        raise PoolhogError("--open has no users: leave --users and --think out")
    question = FormulaTarget(duration("--wait-target", wait_target), hosts, max_connections)
    made = _study(directory, pid, terms, over, question, release or [], is_open=is_open)
    _show(made, svg, target_words(directory, pid), as_json=as_json)


def _range(given: dict[str, tuple[int, int]], svg: Path | None) -> OptionRange | None:
    """The setting that is to be tried with several values; ``None`` if there is none."""
    from poolhog.analysis.replay.study import OptionRange, values_between

    found = [name for name, (first, last) in given.items() if first != last]
    if len(found) > 1:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in found)
        raise PoolhogError(f"{options}: only one of them can be a range")
    if not found:
        if svg is not None:
            raise PoolhogError("--svg is for a curve: give a range, such as --pool-size 5..50")
        return None
    return OptionRange(found[0], values_between(*given[found[0]]))


def _study(
    given: Path | None,
    pid: int | None,
    terms: WhatIf,
    over: OptionRange | None,
    question: FormulaTarget,
    release: list[str],
    *,
    is_open: bool,
) -> Study:
    # A large part of the program, which no other verb needs.
    from poolhog.analysis.replay.chains import read_workload
    from poolhog.analysis.replay.prediction import replay
    from poolhog.analysis.replay.study import study
    from poolhog.analysis.replay.whatif import WhatIf
    from poolhog.analysis.report import read_report

    def look(readers: Sequence[ProcessReader]) -> Study:
        workload = read_workload(readers, reading.tell)
        if not len(workload.chains):
            raise PoolhogError(
                lacking(readers)
                or "no connection was asked for yet: let the application work first"
            )
        # Findings say what a replay does not know.
        report = read_report(readers, thresholds_of(Path.cwd()), reading.tell)
        wanted, names = _released(release, workload_lines(workload), report.findings)
        for reader in readers:
            reader.forget()  # a replay needs its memory for other things
        reading.say("replaying the run as it was")
        replayed = replay(workload, is_open=is_open)
        asked = replace(terms, release=wanted)
        made = study(
            replayed,
            asked,
            question,
            released=names,
            over=over,
            is_otherwise=asked != WhatIf(),
            findings=report.findings,
            tell=reading.say,
        )
        return replace(made, processes=[reader.process for reader in readers])

    from poolhog.analysis.replay.whatif import lines as workload_lines

    with Reading() as reading:
        made, unreadable = read(trace_directory(given), pid, look)
    return replace(made, unreadable=unreadable)


def _released(
    texts: list[str], known: list[ParkedLine], findings: Sequence[Finding]
) -> tuple[frozenset[int], tuple[str, ...]]:
    """The places that ``--release`` means, and the names of their lines."""
    from poolhog.analysis.replay.whatif import places_at

    found: frozenset[int] = frozenset()
    for text in texts:
        line = _line_of_finding(int(text), findings) if text.isdigit() else text
        places = places_at(known, line)
        if not places:
            raise PoolhogError(_unknown(text, line, known))
        found |= places
    return found, tuple(line.name for line in known if line.places & found)


def _line_of_finding(number: int, findings: Sequence[Finding]) -> str:
    """The line of a finding of the report, of which the first is 1."""
    if not 1 <= number <= len(findings):
        raise PoolhogError(f"--release {number}: the report has {len(findings)} findings")
    site = findings[number - 1].site
    if site is None:
        raise PoolhogError(f"--release {number}: that finding's line was not seen; name one")
    return f"{site.file}:{site.line}"


def _unknown(text: str, line: str, known: list[ParkedLine]) -> str:
    told = f"--release {text}" if text == line else f"--release {text} ({line})"
    if not known:
        return f"{told}: nothing was seen that held a connection without using it"
    names = ", ".join(line.name for line in known[:_MOST_CANDIDATES])
    return f"{told}: no connection was parked there, but at {names}; or say all"


def _show(made: Study, svg: Path | None, target: Sequence[str], *, as_json: bool) -> None:
    from poolhog.render.charts import curve_svg
    from poolhog.render.output import print_lines, wide_console, write_whole
    from poolhog.render.reasons import no_prediction
    from poolhog.render.whatif import whatif_lines
    from poolhog.render.whatif_json import whatif_json

    if svg is not None and made.reasons:
        raise PoolhogError(f"--svg {svg}: there is no curve. {no_prediction(made.reasons)}")
    if svg is not None:
        write_whole(svg, curve_svg(made))
    if as_json:
        typer.echo(json.dumps(whatif_json(made), indent=2))
        return
    out = wide_console()
    print_lines(out, whatif_lines(made, out.width, target))
    if svg is not None:
        typer.echo(visible(f"{svg}: the curve"), err=True)
