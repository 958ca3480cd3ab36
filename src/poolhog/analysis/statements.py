"""What was sent to the database, statement by statement, added up without unpacking checkouts."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolhog.analysis.cells import percentile
from poolhog.analysis.findings.names import owner_of
from poolhog.layout import packed_operations
from poolhog.model import OperationKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from poolhog.layout import PackedOperation
    from poolhog.trace.reader import ProcessReader
    from poolhog.trace.snapshot import Snapshot

_SENT_NOTHING = (OperationKind.BEGIN, OperationKind.RESET)
"""Without a statement, these are no round trip."""

_TELL_EVERY = 5_000


@dataclass(slots=True)
class StatementUse:
    """One statement, or a kind of operation that has none.

    ``count`` is how often it was sent, ``errors`` how often it failed, ``durations`` the
    microseconds of those that are over, sorted. ``routes`` are the names of the requests that sent
    it, the one that did most often first.
    """

    kind: OperationKind
    statement: str | None
    count: int = 0
    errors: int = 0
    durations: array[int] = field(default_factory=lambda: array("q"))
    routes: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds in flight."""
        return sum(self.durations) / 1e6

    def at(self, share: float) -> float:
        """The seconds that so large a share of them does not exceed."""
        return percentile(self.durations, share) / 1e6 if self.durations else 0.0


def read_statements(
    readers: Iterable[ProcessReader], tell: Callable[[int], None] = lambda _: None
) -> tuple[StatementUse, ...]:
    """What was sent, the one with the most seconds in flight first; ``tell`` learns how far it is.

    Raises :class:`poolhog.TraceError` if a process cannot be read.
    """
    found: dict[tuple[OperationKind, str | None], StatementUse] = {}
    for reader in readers:
        with reader.snapshot() as snapshot:
            _read(snapshot, found, tell)
    for use in found.values():
        use.durations = array("q", sorted(use.durations))
        use.routes = dict(sorted(use.routes.items(), key=lambda item: (-item[1], item[0])))
    return tuple(sorted(found.values(), key=lambda use: (-use.total, -use.count, use.kind)))


def _read(
    snapshot: Snapshot,
    found: dict[tuple[OperationKind, str | None], StatementUse],
    tell: Callable[[int], None],
) -> None:
    unpack = snapshot.unpack
    names: dict[tuple[Any, ...], str] = {}
    uses: dict[tuple[int, int | None], StatementUse | None] = {}
    for number, (*key, packed) in enumerate(snapshot.packed_operations()):
        if number % _TELL_EVERY == 0:
            tell(number)
        place = tuple(key)
        name = names.get(place)
        if name is None:
            method, route, path, site = place
            name = names[place] = (
                owner_of(unpack.sites.get(site))
                if method is None
                else unpack.request_name(method, route, path)
            )
        for operation in packed_operations(packed):
            sent = operation.kind, operation.statement
            if sent in uses:
                use = uses[sent]
            else:
                use = uses[sent] = _use(
                    unpack.kinds[sent[0]], unpack.statements.get(sent[1]), found
                )
            if use is not None:
                _add(use, operation, name)


def _use(
    kind: OperationKind,
    statement: str | None,
    found: dict[tuple[OperationKind, str | None], StatementUse],
) -> StatementUse | None:
    if statement is None and kind in _SENT_NOTHING:
        return None
    return found.setdefault((kind, statement), StatementUse(kind, statement))


def _add(use: StatementUse, operation: PackedOperation, name: str) -> None:
    use.count += 1
    use.routes[name] = use.routes.get(name, 0) + 1
    if operation.duration is not None:
        use.durations.append(operation.duration)
    if operation.error is not None:
        use.errors += 1
