"""``poolhog sql``: a question to a trace in SQL, over all of its processes."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolhog.cli.target import Directory, Pid, processes, target_words, trace_directory
from poolhog.errors import PoolhogError
from poolhog.render.output import console, wide_console
from poolhog.render.words import command_of
from poolhog.trace.query import Database, questions

if TYPE_CHECKING:
    from pathlib import Path

    from poolhog.trace.query import Answer, Question

MOST_ROWS = 1_000
"""Rows of a table; with ``--json`` there is no limit."""


def sql(
    directory: Directory = None,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="A SELECT statement, or the name of a built-in question. Without it, poolhog "
            "prints the schema and the built-in questions.",
            show_default=False,
        ),
    ] = None,
    *,
    pid: Pid = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list with one object for each row.")
    ] = False,
) -> None:
    """Query a trace with SQL. The trace is never changed.

    Example: `poolhog sql "SELECT outcome, count(*) FROM checkouts GROUP BY outcome"`

    The processes of a run are queried together: the column `pid` names the process of each row.
    """
    if query is None and directory is not None and _is_query(directory):
        directory, query = None, str(directory)
    if query is None and directory is not None and not directory.exists():
        raise PoolhogError(
            f"{directory} does not exist, and it is no question: ask {', '.join(_names())}"
        )
    with Database(processes(trace_directory(directory), pid)) as database:
        if query is None:
            _show_schema(database, directory, as_json=as_json)
            return
        question = _question(query)
        answer = database.ask(question.sql if question is not None else query)
        if as_json:
            _print_json(answer)
        else:
            _print_table(answer, question)


def _is_query(directory: Path) -> bool:
    """Whether the first argument is a question to the newest trace."""
    text = str(directory)
    return not directory.exists() and (text in _names() or len(text.split()) > 1)


def _names() -> list[str]:
    return [question.name for question in questions()]


def _question(query: str) -> Question | None:
    """The question of this name; ``None`` if it is SQL."""
    known = {question.name: question for question in questions()}
    if query not in known and len(query.split()) == 1:
        raise PoolhogError(f"{query!r} is no SELECT and no question: ask {', '.join(known)}")
    return known.get(query)


def _show_schema(database: Database, directory: Path | None, *, as_json: bool) -> None:
    columns = database.columns()
    if as_json:
        asked = [{"name": q.name, "title": q.title, "sql": q.sql} for q in questions()]
        typer.echo(json.dumps({"views": columns, "questions": asked}, indent=2))
        return
    from poolhog.render.output import schema_text

    command = command_of(["poolhog", "sql", *target_words(directory)])
    console().print(schema_text(columns, questions(), command))


def _print_json(answer: Answer) -> None:
    """Row by row: there may be millions."""
    opening = "["
    for row in answer.rows:
        typer.echo(f"{opening}{json.dumps(_object(answer, row), default=str)}", nl=False)
        opening = ",\n "
    typer.echo("]" if opening != "[" else "[]")


def _object(answer: Answer, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(answer.columns, row, strict=True))


def _print_table(answer: Answer, question: Question | None) -> None:
    from poolhog.render.output import answer_table

    out = wide_console()
    rows = list(islice(answer.rows, MOST_ROWS + 1))
    out.print(answer_table(answer.columns, rows[:MOST_ROWS]))
    if not rows:
        out.print("no rows")
    if len(rows) > MOST_ROWS:
        out.print(f"The first {MOST_ROWS:,} rows: add a LIMIT, or take all of them with --json.")
    if question is not None:
        out.print(
            f"\n{question.title}\n\n{question.sql}", style="dim", markup=False, soft_wrap=True
        )
