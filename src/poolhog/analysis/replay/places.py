"""Which of a workload's places a person means: a line, a function, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from poolhog.analysis.replay.steps import Kind

if TYPE_CHECKING:
    from poolhog.analysis.replay.workload import Workload
    from poolhog.model import Site

ALL = "all"


class Line(NamedTuple):
    """A line at which connections were parked: for so many seconds, at these places."""

    site: Site
    seconds: float
    places: frozenset[int]

    @property
    def name(self) -> str:
        """What it is called, such as ``/srv/notes.py:44``."""
        return f"{self.site.file}:{self.site.line}"


def lines(workload: Workload) -> list[Line]:
    """The lines at which connections were parked, the one with the most seconds first."""
    steps = workload.steps
    seconds = [0.0] * len(workload.places)
    for kind, lasted, what in zip(steps.kinds, steps.seconds, steps.whats, strict=True):
        if kind == Kind.PARK:
            seconds[what] += lasted
    found: dict[tuple[str, int], Line] = {}
    for number, site in enumerate(workload.places):
        if site is None:
            continue
        key = site.file, site.line
        known = found.get(key, Line(site, 0.0, frozenset()))
        found[key] = Line(
            known.site, known.seconds + seconds[number], known.places | frozenset([number])
        )
    return sorted(found.values(), key=lambda line: (-line.seconds, line.name))


def places_at(known: list[Line], text: str) -> frozenset[int]:
    """The places that a text means: ``all``, a file and a line, or a function; none if unknown.

    Of a file, the end of its path is enough.
    """
    return frozenset(place for line in known if _means(text, line) for place in line.places)


def _means(text: str, line: Line) -> bool:
    if text == ALL:
        return True
    if text in (line.site.function, line.site.name):
        return True
    name = line.name.replace("\\", "/")
    return name == text or name.endswith(f"/{text.removeprefix('./').replace(chr(92), '/')}")
