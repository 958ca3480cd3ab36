"""Which finding of one run is which of another's, although files moved and lines shifted.

A finding is the same if its kind is, and the function and the text of its line. Of several, those
belong together whose files have the most in common, counted from the end, as the root of a project
is another on each machine; and then those whose lines are nearest.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from poolhog.analysis.findings import Finding

    Pair = tuple[Finding | None, Finding | None]


def pairs(ones: Sequence[Finding], others: Sequence[Finding]) -> Iterator[Pair]:
    """Each finding with its like in the other run, ``None`` if it has none there."""
    groups: defaultdict[tuple[str, ...], tuple[list[Finding], list[Finding]]]
    groups = defaultdict(lambda: ([], []))
    for one in ones:
        groups[_identity(one)][0].append(one)
    for other in others:
        groups[_identity(other)][1].append(other)
    for left, right in groups.values():
        yield from _matched(left, right)


def _matched(left: Sequence[Finding], right: Sequence[Finding]) -> Iterator[Pair]:
    """Of findings with one identity, the likest ones together."""
    ranked = sorted(
        (_distance(one, other), a, b)
        for a, one in enumerate(left)
        for b, other in enumerate(right)
        if _is_same_file(one, other)
    )
    taken_left: set[int] = set()
    taken_right: set[int] = set()
    for _, a, b in ranked:
        if a not in taken_left and b not in taken_right:
            taken_left.add(a)
            taken_right.add(b)
            yield left[a], right[b]
    yield from ((one, None) for one in _without(left, taken_left))
    yield from ((None, other) for other in _without(right, taken_right))


def _without(findings: Sequence[Finding], taken: set[int]) -> Iterable[Finding]:
    return (finding for index, finding in enumerate(findings) if index not in taken)


def _identity(finding: Finding) -> tuple[str, ...]:
    site = finding.site
    if site is None or finding.kind.is_placeless:
        return (finding.kind.name,)
    return finding.kind.name, site.name, " ".join(site.source.split())


def _is_same_file(one: Finding, other: Finding) -> bool:
    if _is_placeless(one) or _is_placeless(other):
        return True
    return _common(one, other) > 0


def _is_placeless(finding: Finding) -> bool:
    """Whether its line says nothing of what it is about."""
    return finding.site is None or finding.kind.is_placeless


def _distance(one: Finding, other: Finding) -> tuple[int, int]:
    if one.site is None or other.site is None:
        return 0, 0
    return -_common(one, other), abs(one.site.line - other.site.line)


def _common(one: Finding, other: Finding) -> int:
    """How many parts at the end of their files' paths are the same."""
    parts = zip(_parts(one), _parts(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))


def _parts(finding: Finding) -> list[str]:
    file = finding.site.file if finding.site is not None else ""
    return file.replace("\\", "/").split("/")[::-1]
