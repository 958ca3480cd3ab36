"""Makes the model's values of a trace's rows; operations and stages when they are looked at.

Every text is made visible here, or where processes and pools are read: nothing behind the reader
meets one that could hide, forge a line, or steer a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from poolhog.layout import packed_operations, packed_stages
from poolhog.model import (
    Activity,
    Cause,
    Checkout,
    LockWait,
    Operation,
    OperationKind,
    Outcome,
    Request,
    Sample,
    Sharing,
    SharingKind,
    Site,
    Stage,
)
from poolhog.texts import LINES, visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from poolhog.model import Pool, Process


T = TypeVar("T")


_OVERLAP = 1_000
"""Numbers of records before the latest site's among which there may be a site that came later."""


_LEAST = -(2**63)
"""No number of SQLite's is below."""


class SharedSites:
    """The sites of a run: equal ones of several processes are the same object."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Site] = {}

    def read(self, database: sqlite3.Connection, found: dict[int | None, Site]) -> None:
        """Add the sites of a file that are not ``found`` yet, by their numbers.

        Callers have lower numbers. Two threads may write theirs in another order, by a little.
        """
        latest = max((key for key in found if key is not None), default=_LEAST + _OVERLAP)
        query = "SELECT * FROM sites WHERE id > ? ORDER BY id"
        for key, caller_id, *row in database.execute(query, [latest - _OVERLAP]):
            if key in found:
                continue
            caller = found.get(caller_id)
            known = *row, id(caller)
            site = self._known.get(known)
            if site is None:
                file, line, function, source, is_application = row
                names = visible(file), line, visible(function), visible(source, keep="\t")
                site = Site(*names, bool(is_application), caller)
                self._known[known] = site
            found[key] = site


def _constructor(model: type[T]) -> Callable[..., T]:
    """Makes values of a frozen dataclass of all of its fields, five times as fast as its own.

    That has to go around the class's ban on assignments, field by field. This one fills an object
    with the same slots, which then becomes one of the class.
    """
    names = [field.name for field in fields(model)]  # type: ignore[arg-type]
    draft = make_dataclass(f"_{model.__name__}Draft", names, slots=True)

    def make(*values: Any) -> T:
        made: T = draft(*values)
        made.__class__ = model
        return made

    return make


_new_request = _constructor(Request)
_new_checkout = _constructor(Checkout)
_new_operation = _constructor(Operation)
_new_sample = _constructor(Sample)
_new_lock_wait = _constructor(LockWait)
_OUTCOMES = frozenset(Outcome)
_KINDS = frozenset(OperationKind)
_SHARING_KINDS = frozenset(SharingKind)


class Unpacker:
    """Makes the model's values of a file's rows.

    Ids begin with ``prefix``: not with the pid, which may be used again, but with the file's name.
    ``statements`` are the ``texts`` again, of which those with several lines have kept these.
    """

    def __init__(
        self, database: sqlite3.Connection, process: Process, prefix: str, sites: SharedSites
    ) -> None:
        self.process = process
        self.prefix = prefix
        self.began = process.began
        self.texts: dict[Any, str] = {}
        self.statements: dict[Any, str] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.kinds: dict[int, OperationKind] = {}
        self.sites: dict[int | None, Site] = {}
        self._shared_sites = sites
        self.learn(database)

    def learn(self, database: sqlite3.Connection) -> None:
        """Read the texts and sites that are new since this was done last."""
        since = max(self.texts, default=_LEAST)
        raw = database.execute("SELECT id, text FROM texts WHERE id > ?", [since]).fetchall()
        texts = {key: visible(text) for key, text in raw}
        self.texts |= texts
        self.statements |= {key: visible(text, keep=LINES) for key, text in raw}
        self.outcomes |= {key: Outcome(text) for key, text in texts.items() if text in _OUTCOMES}
        self.kinds |= {key: OperationKind(text) for key, text in texts.items() if text in _KINDS}
        self._shared_sites.read(database, self.sites)

    def number_of(self, text: str) -> int:
        """Of a text of the file; -1 if it has none such."""
        return next((number for number, known in self.texts.items() if known == text), -1)

    def request_name(self, method: int, route: int | None, path: str | None) -> str:
        """What ``Request.name`` says; the path is needed only where there is no route."""
        # Not None where it is needed, or the file is damaged.
        shown = self.texts.get(route) or visible(path)  # type: ignore[arg-type]
        return f"{self.texts[method]} {shown}".strip()

    def request(self, row: Sequence[Any]) -> Request:
        """Of a row of ``packed_requests``."""
        key, kind, method, route, path, status, error = row[:7]
        started, responding, responded, ended, stages = row[7:]
        began, texts = self.began, self.texts
        return _new_request(
            f"{self.prefix}.{key}",
            self.process,
            texts[kind],
            texts[method],
            texts.get(route),
            visible(path),
            status,
            began + started / 1e6,
            None if responding is None else began + (started + responding) / 1e6,
            None if responded is None else began + (started + responded) / 1e6,
            None if ended is None else began + (started + ended) / 1e6,
            _Unpacked((stages,), started, self._stages) if stages else (),
            texts.get(error),
        )

    def checkout(
        self,
        row: Sequence[Any],
        pool: Pool,
        request: Request | None,
        earlier: Sequence[Sequence[Any]],
        samples: Sequence[Sequence[Any]],
        lock_waits: Sequence[Sequence[Any]] = (),
    ) -> Checkout:
        """Of a row of ``packed_checkouts``, with its rows of other tables."""
        key, _, _, owner, connection, site, outcome, asked = row[:8]
        granted, gave_up, returned, connecting, pinging, busy, operations = row[8:]
        began = self.began
        seen, sharings = self._seen(samples) if samples else ((), ())
        packed = (*(part[2] for part in earlier), operations) if earlier else (operations or "[]",)
        return _new_checkout(
            f"{self.prefix}.{key}",
            pool,
            request,
            visible(owner),
            connection,
            began + asked / 1e6,
            None if granted is None else began + (asked + granted) / 1e6,
            None if gave_up is None else began + (asked + gave_up) / 1e6,
            None if returned is None else began + (asked + returned) / 1e6,
            self.outcomes[outcome],
            _Unpacked(packed, asked, self._operations),
            seen,
            self.sites.get(site),
            (connecting or 0) / 1e6,
            (pinging or 0) / 1e6,
            (busy or 0) / 1e6,
            tuple(map(self._lock_wait, lock_waits)) if lock_waits else (),
            sharings,
        )

    def _stages(self, packed: str, request_started: int) -> Iterator[Stage]:
        for name, since, duration, site in packed_stages(packed):
            started = request_started + since
            yield Stage(
                self.texts[name],
                self.began + started / 1e6,
                self._later(started, duration),
                self.sites.get(site),
            )

    def _operations(self, packed: str, asked: int) -> Iterator[Operation]:
        began, texts, kinds, sites = self.began, self.texts, self.kinds, self.sites
        statements = self.statements
        for kind, since, duration, site, statement, error, cause in packed_operations(packed):
            started = asked + since
            yield _new_operation(
                kinds[kind],
                began + started / 1e6,
                None if duration is None else began + (started + duration) / 1e6,
                statements.get(statement),
                texts.get(error),
                sites.get(site),
                None if cause is None else Cause(texts[cause]),
            )

    def _later(self, start: int, since: int | None) -> float | None:
        return None if since is None else self.began + (start + since) / 1e6

    def _lock_wait(self, row: Sequence[Any]) -> LockWait:
        _, _, blocker, session, since, duration = row
        return _new_lock_wait(
            self.began + since / 1e6,
            self._later(since, duration),
            None if blocker is None else f"{self.prefix}.{blocker}",
            self.texts.get(session),
        )

    def _seen(
        self, rows: Sequence[Sequence[Any]]
    ) -> tuple[tuple[Sample, ...], tuple[Sharing, ...]]:
        """The samples among rows, and the sharings: two rows of one instant may be of one."""
        of_sharing = [row for row in rows if self.texts[row[2]] in _SHARING_KINDS]
        if not of_sharing:
            return tuple(map(self._sample, rows)), ()
        at = {(self.texts[row[2]], row[4]): self.sites.get(row[3]) for row in of_sharing}
        sharings = tuple(
            Sharing(self.began + since / 1e6, site, at.get((SharingKind.GATHERED, since)))
            for (kind, since), site in at.items()
            if kind == SharingKind.SHARED
        )
        return tuple(self._sample(row) for row in rows if row not in of_sharing), sharings

    def _sample(self, row: Sequence[Any]) -> Sample:
        _, _, activity, site, since, duration = row
        return _new_sample(
            Activity(self.texts[activity]),
            self.began + since / 1e6,
            self._later(since, duration),
            self.sites.get(site),
        )


class _Unpacked(Sequence[T]):
    """Values that are made of JSON texts when they are first looked at."""

    __slots__ = ("_make", "_packed", "_since", "_values")

    def __init__(
        self, packed: tuple[str, ...], since: int, make: Callable[[str, int], Iterable[T]]
    ) -> None:
        self._packed = packed
        self._since = since
        self._make = make
        self._values: tuple[T, ...] | None = None

    @property
    def _all(self) -> tuple[T, ...]:
        if self._values is None:
            self._values = tuple(
                value for packed in self._packed for value in self._make(packed, self._since)
            )
        return self._values

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[T]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all)

    def __repr__(self) -> str:
        return repr(self._all)
