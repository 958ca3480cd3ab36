"""One side of a page's data: a run's report, its timeline, its tree, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.bins import LENT
from poolhog.render.page.columns import Columns
from poolhog.render.page.interning import Interned
from poolhog.render.page.lives import lives_json
from poolhog.render.page.texts import page_text, page_texts
from poolhog.render.report import report_json
from poolhog.render.report_tables import OTHERS, doer_text, matrix
from poolhog.render.words import short_name

if TYPE_CHECKING:
    from poolhog.analysis.blame import Blame
    from poolhog.analysis.statements import StatementUse
    from poolhog.analysis.tree import Node, Tree
    from poolhog.analysis.whole import Detail, Whole

MOST_ROWS = 300
"""Of a table: those that are left out are counted."""

MOST_NODES = 4_000
"""Of the tree: the seconds of smaller ones stay with those above them."""

MOST_WAITING = 6
"""Routes that waited and have a column of their own in the matrix."""

_ROUTES_NAMED = 5


def side_json(
    label: str, whole: Whole, detail: Detail, *, spans: int, lines: int
) -> dict[str, Any]:
    """The side, of JSON's values only, as told in ``docs/dev/page-data.md``.

    The timeline has about so many ``spans``, each log so many ``lines``.
    """
    interned = Interned()
    columns = Columns(whole, detail, interned, spans)
    timeline = columns.timeline()
    lives = lives_json(whole, detail, columns, interned, lines)
    icicle = icicle_json(whole.tree, interned)
    report = page_texts(report_json(whole.report))
    del report["blame"]  # the matrix has all of it
    left_out = {
        "routes": _cut(report, "routes", MOST_ROWS),
        "findings": _cut(report, "findings", MOST_ROWS),
        "pools": _cut(report, "pools", MOST_ROWS),
        "processes": _cut(report, "processes", MOST_ROWS),
        "sites": max(len(whole.tree.lines()) - MOST_ROWS, 0),
        "statements": max(len(whole.statements) - MOST_ROWS, 0),
        "nodes": max(sum(1 for _ in whole.tree.nodes()) - MOST_NODES, 0),
    }
    return {
        "label": page_text(label),
        "report": report,
        "left_out": left_out,
        "texts": interned.texts,
        "sites": interned.sites,
        "timeline": timeline,
        "icicle": icicle,
        "tables": {
            "blame": matrix_json(whole.report.blame),
            "sites": sites_json(whole.tree),
            "statements": [_statement(use) for use in whole.statements[:MOST_ROWS]],
        },
        "lives": lives,
    }


def icicle_json(icicle: Tree, interned: Interned) -> dict[str, list[int]]:
    """The tree in columns, parents first; microseconds of a node are with those below it."""
    nodes = list(icicle.nodes())
    index_of = {node: index for index, node in enumerate(nodes)}
    own = [[round(seconds * 1e6) for seconds in node.own] for node in nodes]
    whole = [list(row) for row in own]
    for index in range(len(nodes) - 1, 0, -1):
        parent = nodes[index].parent
        if parent is not None:
            above = whole[index_of[parent]]
            for state, us in enumerate(whole[index]):
                above[state] += us
    # A parent is at least as large as what is below it, and comes first: it is kept with it.
    largest = sorted(range(len(whole)), key=lambda index: (-sum(whole[index]), index))
    kept = sorted(largest[:MOST_NODES])
    number_of = {nodes[index]: number for number, index in enumerate(kept)}
    return {
        "parent": [
            -1 if (parent := nodes[index].parent) is None else number_of[parent] for index in kept
        ],
        "name": [interned.text(_name(nodes[index])) for index in kept],
        "site": [interned.site(nodes[index].site) for index in kept],
        **{
            state.value: [max(whole[index][column], 0) for index in kept]
            for column, state in enumerate(LENT)
        },
        "checkouts": [nodes[index].checkouts for index in kept],
    }


def _name(node: Node) -> str:
    return node.name if node.site is None else short_name(node.name)


def matrix_json(blame: Blame) -> dict[str, Any]:
    """Who made whom wait, the most first; seconds of those that are left out are ``others``."""
    found = matrix(blame)
    waiting, others = found.waiting[:MOST_WAITING], found.waiting[MOST_WAITING:]
    groups = [[route] for route in waiting] + ([others] if others else [])
    kept = [[doer] for doer in found.doers[:MOST_ROWS]]
    rest = found.doers[MOST_ROWS:]
    rows = [*((doer_text(row[0]), row) for row in kept), *([(OTHERS, rest)] if rest else [])]
    table: dict[str, Any] = page_texts(
        {
            "waiting": [*waiting, *([OTHERS] if others else [])],
            "rows": [
                {
                    "name": name,
                    "seconds": found.seconds(doers, found.waiting),
                    "cells": [found.seconds(doers, group) for group in groups],
                }
                for name, doers in rows
            ],
        }
    )
    return table


def sites_json(icicle: Tree) -> list[dict[str, Any]]:
    """The lines of code that spent connection-seconds, the one with the most parked first."""
    return [
        page_texts(
            {
                "file": use.site.file,
                "line": use.site.line,
                "function": use.site.function,
                "source": use.site.source,
                "checkouts": use.checkouts,
                **{
                    f"{state.value}_s": max(seconds, 0.0)
                    for state, seconds in zip(LENT, use.seconds, strict=True)
                },
            }
        )
        for use in icicle.lines()[:MOST_ROWS]
    ]


def _statement(use: StatementUse) -> dict[str, Any]:
    routes = list(use.routes)
    row: dict[str, Any] = page_texts(
        {
            "statement": use.statement or "",
            "kind": use.kind.value,
            "count": use.count,
            "errors": use.errors,
            "total_s": use.total,
            "median_s": use.at(0.5),
            "p95_s": use.at(0.95),
            "routes": routes[:_ROUTES_NAMED],
            "routes_total": len(routes),
        }
    )
    return row


def _cut(report: dict[str, Any], key: str, most: int) -> int:
    """Leave the rows out that are too many; how many these are."""
    rows = report[key]
    report[key] = rows[:most]
    return max(len(rows) - most, 0)
