"""The pictures of a page: each in two widths, with its own ids, and a QR code that leads to it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from poolhog.lab.pictures import ANIMATED, NARROW, draw, draw_compared, draw_two_lives
from poolhog.lab.qr import qr_svg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolhog.lab.results import Results

_PREFIX = re.compile(r'\bid="(p[0-9a-f]{10}-)svg"')


@dataclass(frozen=True, slots=True)
class Link:
    """The address at which a diagram is published, and its QR code."""

    address: str
    code: Markup


@dataclass(frozen=True, slots=True)
class Diagram:
    """A picture as the page shows it. ``id`` is its element's, ``plays`` says that it is animated.

    ``narrow`` is for phones, and for slides on which it stands beside code. ``wide`` is ``None`` if
    it is always narrow.
    """

    id: str
    wide: Markup | None
    narrow: Markup
    plays: bool
    link: Link | None


class Diagrams:
    """Hands out the pictures of a run for one page; ``published`` is the page's address."""

    def __init__(
        self, results: Results, pictures: Mapping[str, str], published: str | None
    ) -> None:
        self._wide = pictures
        self._narrow = draw(results, NARROW)
        self._results = results
        self._published = published
        self._uses: Counter[str] = Counter()

    def get(self, name: str, *, is_small: bool = False) -> Diagram | None:
        """Return the picture of this name, with other ids each time; ``None`` if there is none."""
        if name not in self._wide:
            return None
        self._uses[name] += 1
        use = self._uses[name]
        own_id = name if use == 1 else f"{name}-{use}"
        plays = name.endswith(ANIMATED)
        return Diagram(
            own_id,
            None if is_small else self._own(self._wide[name]),
            self._own(self._narrow[name]),
            plays,
            self.link(own_id, plays=plays),
        )

    def compared(self) -> list[Markup]:
        """Return the largest bursts as pictures that stand side by side."""
        return [self._own(svg) for svg in draw_compared(self._results)]

    def two_lives(self) -> Markup | None:
        """Return the implicit and the explicit GET in one picture; ``None`` without both."""
        svg = draw_two_lives(self._results)
        return None if svg is None else self._own(svg)

    def link(self, element: str, *, plays: bool) -> Link | None:
        """Return the link to an element of the published page; ``plays`` makes it play there."""
        if self._published is None:
            return None
        address = f"{self._published}#{element}{'&play' if plays else ''}"
        return Link(address, qr_svg(address))

    def _own(self, svg: str) -> Markup:
        """The picture with ids that nothing else of the page has."""
        found = _PREFIX.search(svg)
        prefix = found[1] if found is not None else ""
        self._uses[prefix] += 1
        if prefix and self._uses[prefix] > 1:
            svg = svg.replace(prefix, f"{prefix}{self._uses[prefix]}-")
        return Markup(svg)  # noqa: S704 - drawn by poolhog, which escapes
