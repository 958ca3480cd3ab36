"""The report as a page: one HTML file that needs nothing else, about one run or two."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from poolhog.analysis.accounting import State
from poolhog.render.page.cards import Card, cards
from poolhog.render.page.changes import Changes, changes, comparison
from poolhog.render.page.inline import digest, script, styles
from poolhog.render.page.run import Unseen, unseen
from poolhog.render.page.source import SourceFiles
from poolhog.render.page.tables import PageTable, tables
from poolhog.render.page.texts import page_text, shown
from poolhog.render.page.verdict import Number, numbers, verdict
from poolhog.render.page.whatif import WhatIfSection, whatif_section
from poolhog.render.palette import LENT, PAGE_COLOURS, PAINTS, SURFACES, css_variables
from poolhog.render.words import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from poolhog.analysis.accounting import Account
    from poolhog.analysis.compare.comparison import Comparison
    from poolhog.render.page.data import PageData
    from poolhog.render.page.run import PageRun
    from poolhog.render.palette import Paint

PICTURES = ("swatches.css", "timeline.css", "tree.css")
"""The styles of the pictures, which other pages may have as well."""

STYLES = ("page.css", "bars.css", *PICTURES)

MEANINGS: Mapping[State, str] = {
    State.WAITING: "A request asked for a connection and has none yet.",
    State.BUSY: "The database is doing something for the request that has the connection.",
    State.BLOCKED: (
        "The request's statement waits in the database for a lock that another connection holds."
    ),
    State.PARKED: (
        "The request has the connection, and waits for something that is not the database. Nobody "
        "else can use it meanwhile: this is what poolhog looks for."
    ),
    State.RUNNING: "The request has the connection, and its Python code is being executed.",
    State.READY: (
        "The request has the connection and could go on, but the event loop or the interpreter is "
        "occupied by something else."
    ),
    State.NOT_HOLDING: "The request is under way without a connection.",
}
"""What each colour means, in plain words."""

_UNIT = re.compile(r"(?<=\d) (?=(?:%|m?s)(?!\w))")


@dataclass(frozen=True, slots=True)
class StateShare:
    """A part of the bar of connection time: its seconds, and its place as shares of the bar."""

    state: str
    seconds: float
    share: float
    left: float


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a page.

    ``whatif`` is ``None`` if nothing can be released, ``more_findings`` counts those without a
    card, ``told`` the requests that are told step by step.
    """

    number: int
    label: str
    verdict: Sequence[Markup]
    numbers: Sequence[Number]
    shares: Sequence[StateShare]
    cards: Sequence[Card]
    more_findings: int
    whatif: WhatIfSection | None
    tables: Sequence[PageTable]
    unseen: Sequence[Unseen]
    told: int
    has_checkouts: bool

    @property
    def alerts(self) -> list[str]:
        """What has to stand at the top, because numbers may be wrong."""
        return [one.text for one in self.unseen if one.is_grave]


@dataclass(frozen=True, slots=True)
class Content:
    """A page: its title, its sides, and what compares them if there are two."""

    title: str
    sides: Sequence[Side]
    changes: Changes | None
    comparison: PageTable | None
    paints: Sequence[tuple[Paint, str]]
    made_at: str
    version: str

    @property
    def is_pair(self) -> bool:
        """Whether there are two runs."""
        return len(self.sides) > 1


def page_html(
    data: PageData, compared: Comparison | None = None, source: Path | None = None
) -> str:
    """Return the page of these runs: complete, and with nothing to load.

    ``compared`` is what changed from the first run to the second, shown if given. The lines around
    a finding's line are read from Python files below ``source``; without it, no file is read.
    """
    code, style = script("main.js"), stylesheet()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            content=content_of(data, compared, SourceFiles(source)),
            policy=policy(code, style),
            script=Markup(code),  # noqa: S704 - our own modules
            style=Markup(style),  # noqa: S704 - our own files
            data=Markup(data.encoded),  # noqa: S704 - escaped there
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("poolhog.render.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters |= {
        "seconds": seconds,
        "percent": percent,
        "rows": lambda number: count(number, "row"),
        "with_code": with_code,
    }
    return environment


def policy(code: str, style: str) -> str:
    """Return what the page may do: run this script, have this style, and load nothing."""
    return (
        f"default-src 'none'; script-src {digest(code)}; style-src {digest(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def stylesheet() -> str:
    """Return the styles of the page and of its pictures, with the palette for light and dark.

    Paper is light.
    """
    colours = dict(SURFACES) | dict(PAGE_COLOURS)
    light, dark = (css_variables(dark=is_dark, more=colours) for is_dark in (False, True))
    palette = f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return palette + styles(STYLES)


def content_of(data: PageData, compared: Comparison | None, sources: SourceFiles) -> Content:
    """Return the content of a page, with what changed between its runs if they are ``compared``."""
    return Content(
        title=" against ".join(run.label for run in data.runs),
        sides=[_side(number, run, sources) for number, run in enumerate(data.runs)],
        changes=changes(compared) if compared is not None else None,
        comparison=comparison(*data.runs) if len(data.runs) > 1 else None,
        paints=[(paint, MEANINGS[state]) for state, paint in PAINTS.items()],
        made_at=data.made_at,
        version=data.version,
    )


def _side(number: int, run: PageRun, sources: SourceFiles) -> Side:
    report, shown_cards = run.report, cards(run, sources)
    return Side(
        number=number,
        label=run.label,
        verdict=[with_code(sentence) for sentence in verdict(report)],
        numbers=list(numbers(report)),
        shares=shares(report.spent),
        cards=shown_cards,
        more_findings=len(report.findings) - len(shown_cards),
        whatif=whatif_section(report, run.whatif),
        tables=tables(run),
        unseen=list(unseen(report, run.left_out)),
        told=len(run.told),
        has_checkouts=report.checkouts > 0,
    )


def shares(spent: Account) -> list[StateShare]:
    """Return the states of connection time that occur, side by side."""
    found, left = [], 0.0
    for state in LENT:
        seconds = getattr(spent, state.value)
        if seconds > 0:
            found.append(StateShare(state.value, seconds, seconds / spent.use, left))
            left += seconds / spent.use
    return found


def with_code(text: str) -> Markup:
    """Return the text with words between backquotes as code, and numbers tied to their units."""
    parts = [
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(page_text(_UNIT.sub("\xa0", text)).split("`"))
    ]
    return Markup("").join(parts)
