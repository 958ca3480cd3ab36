"""The words of one kind of finding: a row of ``render/findings.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.analysis.findings import Finding, FindingKind

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Words(Generic[E]):
    """The words of one kind of finding, whose evidence is an ``E``.

    - ``title`` heads its card on the page.
    - ``verdict`` is the terminal's first sentence about it, with ``{site}``, ``{seconds}``,
      ``{checkouts}`` or ``{detail}``.
    - ``detail`` says the evidence in one or two sentences, ``advice`` what to do.
    - ``spent`` continues "12 % of connection time", ``happened`` is the page's sentence where the
      time is not what counts. Both may have ``{what}``, ``{place}`` or ``{call}``, and the latter a
      number: ``{times}``, ``{connections}``, ``{writes}`` or ``{requests}``, or ``{detail}``. A row
      has one of them.
    - ``patch`` makes the advice code: of the finding's line, a change whose lines begin with their
      sign ("-", "+" or " ").
    """

    kind: FindingKind[E]
    title: str
    verdict: str
    detail: Callable[[Finding, E], str]
    advice: Callable[[E], str]
    spent: str | None = None
    happened: str | None = None
    patch: Callable[[str], str] | None = None
