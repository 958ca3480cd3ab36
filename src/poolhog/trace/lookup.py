"""Finds one request in a trace, or the checkouts of a window, without reading all the others."""

# ruff: noqa: S608 - the parts of every query are constants of this module

from __future__ import annotations

import json
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING

from poolhog.trace.sql_texts import name_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolhog.model import Checkout, Request
    from poolhog.trace.reader import ProcessReader

MOST_CHECKOUTS = 1_000
"""Checkouts that are read of one owner without a request: a script's main thread has all."""

MOST_SIBLINGS = 2_000
"""Checkouts with samples, asked for at the same sites, that tell about gaps without one."""

_NAME = name_of("method", "route", "path")
_OWNER = shown("owner")

_HELD = "sum(coalesce(returned, gave_up, max(:until - asked, 0)))"
"""Microseconds from asking for connections to their return, of those that are open up to now."""


@dataclass(frozen=True, slots=True)
class Found:
    """A request, or an owner whose checkouts belong to none, as far as it is known without reading.

    ``id`` is the request's, or the owner's name.
    """

    id: str
    name: str
    reader: ProcessReader
    _key: int | None

    def request(self) -> Request | None:
        """The request; ``None`` for an owner without one."""
        if self._key is None:
            return None
        (request,) = self.reader.select_requests("WHERE id = ?", (self._key,))
        return request

    def total(self) -> int:
        """How many checkouts it has."""
        which, value = self._own
        ((total,),) = self.reader.query(f"SELECT count(*) FROM packed_checkouts {which}", value)
        return int(total)

    def numbers(self) -> list[int]:
        """The numbers of its checkouts, or of the first ones of an owner without a request."""
        which, value = self._own
        most = MOST_CHECKOUTS if self._key is None else -1
        query = f"SELECT id FROM packed_checkouts {which} ORDER BY asked, id LIMIT {most}"
        return [number for (number,) in self.reader.query(query, value)]

    def siblings(self) -> list[int]:
        """The numbers of some checkouts with samples that were asked for where its own were."""
        which, value = self._own
        sites = f"SELECT DISTINCT site_id FROM packed_checkouts {which}"
        rows = self.reader.query(
            f"SELECT id FROM packed_checkouts WHERE site_id IN ({sites})"
            f" AND id IN (SELECT checkout_id FROM packed_samples) LIMIT {MOST_SIBLINGS}",
            value,
        )
        return [number for (number,) in rows]

    @property
    def _own(self) -> tuple[str, tuple[object]]:
        """The condition that its checkouts meet, and its value."""
        if self._key is not None:
            return "WHERE request_id = ?", (self._key,)
        return f"WHERE request_id IS NULL AND {_OWNER} = ?", (self.id,)


def longest(
    readers: Iterable[ProcessReader], most: int, *, names: Iterable[str] | None = None
) -> list[tuple[float, Found]]:
    """The requests that waited for connections and held them for the longest, with their seconds.

    Those of these names, or all. Where no request asked for one, these are the owners that did.
    """
    every = tuple(readers)
    found = [one for reader in every for one in _requests(reader, most, names)]
    if not found and names is None:
        found = [one for reader in every for one in _owners(reader, most)]
    return nlargest(most, found, key=itemgetter(0))


def by_id(readers: Iterable[ProcessReader], wanted: str) -> Found | None:
    """The request with this id, the one that a checkout with it belongs to, or the owner."""
    every = tuple(readers)
    for reader in every:
        prefix, _, number = wanted.rpartition(".")
        if number.isdecimal() and (prefix == reader.name or (not prefix and len(every) == 1)):
            found = _by_key(reader, int(number))
            if found is not None:
                return found
    owners = (owner for reader in every for _, owner in _owners(reader, None))
    return next((owner for owner in owners if owner.id == wanted), None)


def names_like(readers: Iterable[ProcessReader], text: str) -> list[str]:
    """Names of requests: the one that is this text, or whose route is, or else all that have it."""
    names = sorted({name for reader in readers for name in reader.request_counts()})
    for matches in (
        [name for name in names if name == text],
        [name for name in names if name.partition(" ")[2] == text],
    ):
        if matches:
            return matches
    return [name for name in names if text.lower() in name.lower()]


def span(readers: Iterable[ProcessReader]) -> tuple[float, float] | None:
    """From when to when connections were asked for and lent; ``None`` if none ever was."""
    found = []
    for reader in readers:
        process = reader.process
        ((first, last),) = reader.query(
            "SELECT min(asked), max(asked + coalesce(returned, gave_up, :until - asked))"
            " FROM packed_checkouts",
            {"until": _written(reader)},
        )
        if first is not None:
            found.append((process.began + first / 1e6, process.began + last / 1e6))
    if not found:
        return None
    return min(first for first, _ in found), max(last for _, last in found)


def span_of_requests(readers: Iterable[ProcessReader]) -> tuple[float, float] | None:
    """From when to when requests that asked for connections ran; ``None`` if there are none."""
    found = []
    for reader in readers:
        began = reader.process.began
        ((first, last),) = reader.query(
            "SELECT min(started), max(started + coalesce(ended, :until - started))"
            " FROM packed_requests WHERE id IN (SELECT request_id FROM packed_checkouts)",
            {"until": _written(reader)},
        )
        if first is not None:
            found.append((began + first / 1e6, began + last / 1e6))
    if not found:
        return None
    return min(first for first, _ in found), max(last for _, last in found)


def operation_count(readers: Iterable[ProcessReader]) -> int:
    """About how many operations there are, by the length of their packed texts."""
    characters: float = sum(
        reader.query(
            "SELECT (SELECT total(length(operations)) FROM packed_checkouts)"
            " + (SELECT total(length(operations)) FROM packed_operations)"
        )[0][0]
        for reader in readers
    )
    return round(characters / _OPERATION_LENGTH)


_OPERATION_LENGTH = 24
"""Characters of a packed operation: a long checkout's have a few more, a short one's a few less."""


def checkouts_within(
    reader: ProcessReader, started: float, ended: float, *, names: Iterable[str] | None = None
) -> Iterator[Checkout]:
    """The checkouts of a process that were waiting or lent between two instants, by their asking.

    Those of requests of these names, or all.
    """
    return reader.select(_within(names), _window(reader, started, ended, names))


def numbers_within(
    reader: ProcessReader,
    started: float,
    ended: float,
    *,
    names: Iterable[str] | None = None,
    sampled: bool = False,
) -> list[int]:
    """The numbers of these checkouts; ``sampled``: only of those that have samples."""
    which = _within(names)
    if sampled:
        which += " AND id IN (SELECT checkout_id FROM packed_samples)"
    rows = reader.query(
        f"SELECT id FROM packed_checkouts {which}", _window(reader, started, ended, names)
    )
    return [number for (number,) in rows]


def requests_within(
    reader: ProcessReader, started: float, ended: float, *, names: Iterable[str] | None = None
) -> Iterator[Request]:
    """The process's requests that were under way between two instants, in order of their start.

    Those of these names, or all, with a checkout or without.
    """
    named = "" if names is None else f" AND id IN ({_NAMED})"
    return reader.select_requests(
        f"WHERE started < :ended AND coalesce(started + ended, :ended) >= :started{named}",
        _window(reader, started, ended, names),
    )


def counts_within(
    readers: Iterable[ProcessReader],
    started: float,
    ended: float,
    *,
    names: Iterable[str] | None = None,
) -> tuple[int, int, int]:
    """How many requests, owners without one, and checkouts there were between two instants."""
    found = [
        reader.query(
            "SELECT count(DISTINCT request_id),"
            f" count(DISTINCT CASE WHEN request_id IS NULL THEN {_OWNER} END), count(*)"
            f" FROM packed_checkouts {_within(names)}",
            _window(reader, started, ended, names),
        )[0]
        for reader in readers
    ]
    requests, owners, checkouts = (sum(column) for column in zip((0, 0, 0), *found, strict=True))
    return requests, owners, checkouts


def _within(names: Iterable[str] | None) -> str:
    named = "" if names is None else f" AND {_IS_NAMED}"
    over = "asked + coalesce(returned, gave_up, :ended - asked)"
    return f"WHERE asked < :ended AND {over} >= :started{named}"


def _window(
    reader: ProcessReader, started: float, ended: float, names: Iterable[str] | None
) -> dict[str, object]:
    return {
        "started": (started - reader.process.began) * 1e6,
        "ended": (ended - reader.process.began) * 1e6,
        "names": _listed(names),
    }


_NAMED = f"SELECT id FROM requests WHERE {_NAME} IN (SELECT value FROM json_each(:names))"
_IS_NAMED = f"request_id IN ({_NAMED})"


def _listed(names: Iterable[str] | None) -> str | None:
    return None if names is None else json.dumps(list(names))


def _requests(
    reader: ProcessReader, most: int, names: Iterable[str] | None
) -> Iterator[tuple[float, Found]]:
    named = "" if names is None else f" AND {_IS_NAMED}"
    rows = reader.query(
        f"SELECT r.id, {_NAME}, held FROM (SELECT request_id, {_HELD} AS held"
        f" FROM packed_checkouts WHERE request_id IS NOT NULL{named}"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT :most) JOIN requests AS r ON r.id = request_id",
        {"until": _written(reader), "most": most, "names": _listed(names)},
    )
    for key, name, held in rows:
        yield held / 1e6, Found(f"{reader.name}.{key}", name, reader, key)


def _owners(reader: ProcessReader, most: int | None) -> Iterator[tuple[float, Found]]:
    rows = reader.query(
        f"SELECT {_OWNER}, {_HELD} FROM packed_checkouts WHERE request_id IS NULL"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT :most",
        {"until": _written(reader), "most": -1 if most is None else most},
    )
    for owner, held in rows:
        yield held / 1e6, Found(owner, owner, reader, None)


def _by_key(reader: ProcessReader, key: int) -> Found | None:
    """Ids are unique in a process, whatever they are of."""
    for request, owner in reader.query(
        "SELECT id, NULL FROM packed_requests WHERE id = :key"
        f" UNION ALL SELECT request_id, {_OWNER} FROM packed_checkouts WHERE id = :key",
        {"key": key},
    ):
        if request is None:
            return Found(owner, owner, reader, None)
        ((name,),) = reader.query(f"SELECT {_NAME} FROM requests WHERE id = ?", (request,))
        return Found(f"{reader.name}.{request}", name, reader, request)
    return None


def _written(reader: ProcessReader) -> int:
    """When the process was last written, as its file counts."""
    return round((reader.process.written - reader.process.began) * 1e6)
