"""The words of one kind of finding, a row of ``render/findings.py``, and what rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from poolhog.model import OperationKind
from poolhog.render.patches import Place, no_patch
from poolhog.render.words import abbreviated, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolhog.analysis.findings import Finding, FindingKind
    from poolhog.analysis.findings.parked_checkout import Asked

E = TypeVar("E")
N = TypeVar("N")


@dataclass(frozen=True, slots=True)
class Words(Generic[E]):
    """The words of one kind of finding, whose evidence is an ``E``.

    - ``title`` heads its card on the page.
    - ``verdict`` is the terminal's first sentence about it, with ``{site}``, ``{seconds}``,
      ``{checkouts}`` or ``{detail}``.
    - ``detail`` says the evidence in one or two sentences, ``advice`` what to do.
    - ``spent`` continues "12 % of connection time", ``happened`` is the page's sentence where the
      time is not what counts. Both may have ``{what}``, ``{place}`` or ``{call}``, and the latter a
      number: ``{times}``, ``{connections}``, ``{writes}`` or ``{waits}``, or ``{detail}``. A row
      has one of them.
    - ``patch`` makes the advice code: a change of the finding's line, whose lines begin with their
      sign ("-", "+" or " "); "" where the lines do not have the names that it needs.
    """

    kind: FindingKind[E]
    title: str
    verdict: str
    detail: Callable[[Finding, E], str]
    advice: Callable[[E], str]
    spent: str | None = None
    happened: str | None = None
    patch: Callable[[Place, E], str] = no_patch


def by_text(notes: Mapping[N, float], text: Callable[[N], str]) -> dict[str, float]:
    """The notes as texts, with their weights: several may read the same."""
    weights: dict[str, float] = {}
    for note, weight in notes.items():
        said = text(note)
        weights[said] = weights.get(said, 0.0) + weight
    return weights


def heaviest(notes: Mapping[N, float], text: Callable[[N], str]) -> str:
    """The text with the largest weight."""
    weights = by_text(notes, text)
    return max(weights, key=lambda said: (weights[said], said), default="")


def operation(asked: Asked) -> str:
    """An operation and its line, such as ``UPDATE notes (service.py:55)``."""
    if asked.kind is OperationKind.STATEMENT and asked.statement:
        what = f"`{abbreviated(asked.statement)}`"
    elif asked.kind is OperationKind.FETCH:
        what = "a fetch"
    else:
        what = asked.kind.value.upper()
    return f"{what} ({place(asked.site)})" if asked.site is not None else what
