"""What the page's template asks for, made of the page's data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from poolhog.render.page.cards import MOST_CARDS, Card, cards
from poolhog.render.page.changes import Changes, changes
from poolhog.render.page.comparison import comparison
from poolhog.render.page.tables import Table, tables
from poolhog.render.page.unseen import Unseen, alerts, unseen
from poolhog.render.page.verdict import Number, numbers, shares, verdict
from poolhog.render.page.whatif import WhatIfSection, whatif_section
from poolhog.render.palette import PAINTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolhog.analysis.comparison import Comparison
    from poolhog.render.page.sources import Sources
    from poolhog.render.palette import Paint

    Json = Mapping[str, Any]

STATES = ("busy", "parked", "running", "ready")
"""Those of the bar of the pools' use, in its order."""

MEANINGS = {
    "waiting": "A request asked for a connection and has none yet.",
    "busy": "The database is doing something for the request that has the connection.",
    "parked": (
        "The request has the connection, and waits for something that is not the database. Nobody "
        "else can use it meanwhile: this is what poolhog looks for."
    ),
    "running": "The request has the connection, and its Python code is being executed.",
    "ready": (
        "The request has the connection and could go on, but the event loop or the interpreter is "
        "occupied by something else."
    ),
    "none": "The request is under way without a connection.",
}
"""What each colour says, in plain words."""


_UNIT = re.compile(r"(?<=\d) (?=(?:%|m?s)(?!\w))")


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the bar of the pools' use: where it is in percent of it, and its seconds."""

    state: str
    seconds: float
    share: float
    left: float


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a page."""

    number: int
    label: str
    verdict: Sequence[Markup]
    numbers: Sequence[Number]
    shares: Sequence[Share]
    cards: Sequence[Card]
    more_findings: int
    whatif: WhatIfSection | None
    tables: Sequence[Table]
    unseen: Sequence[Unseen]
    alerts: Sequence[str]
    lives: int
    has_checkouts: bool


@dataclass(frozen=True, slots=True)
class Content:
    """A page: its title, its sides, and what compares them if there are two."""

    title: str
    sides: Sequence[Side]
    changes: Changes | None
    comparison: Table | None
    paints: Sequence[Paint]
    meanings: Mapping[str, str]
    made_at: str
    version: str

    @property
    def is_pair(self) -> bool:
        """Whether there are two runs."""
        return len(self.sides) > 1


def content_of(data: Json, compared: Comparison | None, sources: Sources) -> Content:
    """The content of a page, with what changed between its sides if they are ``compared``."""
    sides = [_side(number, side, sources) for number, side in enumerate(data["sides"])]
    return Content(
        title=" against ".join(side.label for side in sides),
        sides=sides,
        changes=changes(compared) if compared is not None else None,
        comparison=comparison(data["sides"]) if len(sides) > 1 else None,
        paints=tuple(PAINTS.values()),
        meanings=MEANINGS,
        made_at=data["made_at"],
        version=data["poolhog"],
    )


def _side(number: int, side: Json, sources: Sources) -> Side:
    report = side["report"]
    found = [one for one in shares(report, STATES) if one[1] > 0]
    lefts = [sum(share for _, _, share in found[:index]) for index in range(len(found))]
    cut = side["left_out"]["findings"]
    return Side(
        number=number,
        label=side["label"],
        verdict=[with_code(sentence) for sentence in verdict(report)],
        numbers=list(numbers(report)),
        shares=[Share(*one, left) for one, left in zip(found, lefts, strict=True)],
        cards=cards(side, sources),
        more_findings=max(len(report["findings"]) - MOST_CARDS, 0) + cut,
        whatif=whatif_section(side),
        tables=tables(side),
        unseen=list(unseen(side)),
        alerts=alerts(side),
        lives=len(side["lives"]),
        has_checkouts=report["totals"]["checkouts"] > 0,
    )


def with_code(text: str) -> Markup:
    """The text with what stands between backquotes as code, and numbers beside their units."""
    text = _UNIT.sub("\xa0", text)
    parts = [
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)
