"""``poolhog lab``: the talk, run for real."""

from __future__ import annotations

import dataclasses
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from poolhog.errors import PoolhogError
from poolhog.lab.parameters import TALK, Experiment, Parameters
from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.service.settings import Style

if TYPE_CHECKING:
    from collections.abc import Iterable

    from poolhog.lab.results import Results

T = TypeVar("T", bound=StrEnum | int)

_DEFAULT: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Parameters)}
"""The defaults of ``Parameters``, which ``--help`` shows."""


def lab(
    context: typer.Context,
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help=f"Some of {', '.join(Experiment)}; by default the talk: {', '.join(TALK)}.",
        ),
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take less than a minute: a shorter call, fewer users.")
    ] = False,
    styles: Annotated[
        str | None,
        typer.Option(
            metavar="STYLE,…",
            help=f"Some of {', '.join(Style)}; by default those that the talk shows.",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="REMEDY,…",
            help=f"Some of the remedies {', '.join(RemedyName)}; by default all.",
        ),
    ] = None,
    external_latency: Annotated[
        float, typer.Option(metavar="S", help="How long the external API takes, in seconds.")
    ] = _DEFAULT["external_latency"],
    external_jitter: Annotated[
        float, typer.Option(metavar="S", help="How much that time varies, in seconds.")
    ] = _DEFAULT["external_jitter"],
    external_failure_rate: Annotated[
        float, typer.Option(metavar="SHARE", help="The share of its calls that fail, from 0 to 1.")
    ] = _DEFAULT["external_failure_rate"],
    pool_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Connections in the pool. By default 5, and 10 under load."),
    ] = None,
    max_overflow: Annotated[
        int, typer.Option(metavar="N", help="Connections that the pool may open beyond its size.")
    ] = _DEFAULT["max_overflow"],
    pool_timeout: Annotated[
        float,
        typer.Option(
            metavar="S",
            help="How long a request waits for a connection, in seconds. encode/databases has no "
            "such limit.",
        ),
    ] = _DEFAULT["pool_timeout"],
    workers: Annotated[int, typer.Option(metavar="N", help="Processes of the service.")] = _DEFAULT[
        "workers"
    ],
    requests: Annotated[
        str, typer.Option(metavar="N,…", help="Simultaneous requests of each burst.")
    ] = ",".join(map(str, _DEFAULT["requests"])),
    users: Annotated[int, typer.Option(metavar="N", help="Users under load.")] = _DEFAULT["users"],
    ramp: Annotated[
        float, typer.Option(metavar="S", help="Seconds until all users have arrived.")
    ] = _DEFAULT["ramp"],
    measure: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Seconds for which the load is measured. By default 20, and 10 for each remedy.",
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A PostgreSQL to use instead of the embedded one. poolhog creates a schema of its "
            "own and drops it afterwards.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(metavar="PORT", help="The port of the service. 0 takes any free port.")
    ] = _DEFAULT["port"],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where report.html will be published (http or https): each of its diagrams gets "
            "a QR code that opens it there.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            help="A new folder. By default one in poolhog-lab, named after date and time.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json at the end.")] = False,
) -> None:
    """Run the experiments of a talk on a real PostgreSQL, and write a report.

    Example: `poolhog lab --quick`

    poolhog records a notes service, written in several styles, while it answers single requests
    (lifecycle), simultaneous requests (burst) and a thousand users (load). On demand the lab also
    measures fourteen remedies for an exhausted pool (remedies, about 13 minutes).

    The report is a page, and slides: press P on it.
    """
    parameters = Parameters(output=output or _new_folder())
    if quick:
        parameters = parameters.quick()
    parameters = dataclasses.replace(parameters, **_chosen(context))
    _finish(_run(parameters), as_json=as_json)


def _chosen(context: typer.Context) -> dict[str, Any]:
    """The options that the user gave; the others keep their defaults, or those of ``--quick``."""
    given = {
        name: value
        for name, value in context.params.items()
        if name in _DEFAULT and name != "output" and _is_given(context, name)
    }
    if "experiments" in given:
        given["experiments"] = _values(Experiment, given["experiments"], "experiment")
    if "styles" in given:
        given["styles"] = _values(Style, given["styles"].split(","), "--styles")
    if "only" in given:
        given["only"] = _values(RemedyName, given["only"].split(","), "--only")
    if "requests" in given:
        given["requests"] = _values(int, given["requests"].split(","), "--requests")
    return given


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _values(kind: type[T], texts: Iterable[str], option: str) -> tuple[T, ...]:
    """The values that the texts name, each once, in their order."""
    values = []
    for text in texts:
        try:
            values.append(kind(text.strip()))
        except ValueError:
            known = ", ".join(kind) if issubclass(kind, StrEnum) else "a whole number"
            raise PoolhogError(f"{option} {text!r}: expected {known}") from None
    return tuple(dict.fromkeys(values))


def _new_folder() -> Path:
    """A folder named after the current time; a second run in the same second gets a suffix."""
    name = time.strftime("%Y%m%d-%H%M%S")
    names = (name, *(f"{name}-{n}" for n in range(2, 100)))
    return next(path for path in (Path("poolhog-lab") / n for n in names) if not path.exists())


def _run(parameters: Parameters) -> Results:
    try:
        from poolhog.lab.run import run_lab
    except ModuleNotFoundError as error:
        raise PoolhogError(
            f"the lab needs {error.name}: install it with pip install 'poolhog[lab]'"
        ) from error
    from poolhog.cli.display import Display

    with Display() as display:
        return run_lab(parameters, display)


def _finish(results: Results, *, as_json: bool) -> None:
    if as_json:
        file = results.parameters.output / "results.json"
        typer.echo(file.read_text(encoding="utf-8"), nl=False)
        return
    from poolhog.cli.lab_summary import print_summary

    print_summary(results)
