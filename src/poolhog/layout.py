"""What the rows and packed lists of a trace file hold, in order: one declaration for both sides.

The recorder makes rows by the names of their columns, the reader takes them apart by these, and the
checksum weighs them by their place. ``trace/schema.sql`` has the same columns in the same order: a
test holds it to that.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")

SCHEMA_VERSION = 3
"""Grows with every change of the tables, or of what is packed in them."""

OLDEST_SCHEMA_VERSION = 2
"""The oldest one that is still read. 3 added the waits for locks, and nothing else."""


class PoolRow(NamedTuple):
    """A connection pool: its library, class and name, and its limits."""

    id: int
    library: str
    kind: str
    name: str
    size: int | None
    max_overflow: int | None
    timeout_s: float | None


class TextRow(NamedTuple):
    """A text that other rows name by its number."""

    id: int
    text: str


class SiteRow(NamedTuple):
    """A place in the code; ``caller_id`` is the site that it was called from."""

    id: int
    caller_id: int | None
    file: str
    line: int
    function: str
    source: str
    is_application: int


class RequestRow(NamedTuple):
    """A request. ``kind``, ``method``, ``route`` and ``error`` are numbers of texts.

    ``started`` is in microseconds since the process began, the later instants in microseconds
    since ``started``. ``stages`` is a JSON list of :class:`PackedStage`.
    """

    id: int
    kind: int
    method: int
    route: int | None
    path: str
    status: int | None
    error: int | None
    started: int
    responding: int | None
    responded: int | None
    ended: int | None
    stages: str | None


class CheckoutRow(NamedTuple):
    """A checkout. ``outcome`` is the number of a text.

    ``asked`` is in microseconds since the process began; ``granted``, ``gave_up`` and ``returned``
    in microseconds since ``asked``. ``connecting``, ``pinging`` and ``busy`` are durations in
    microseconds, ``operations`` is a JSON list of :class:`PackedOperation`.
    """

    id: int
    pool_id: int
    request_id: int | None
    owner: str
    connection: int | None
    site_id: int | None
    outcome: int
    asked: int
    granted: int | None
    gave_up: int | None
    returned: int | None
    connecting: int | None
    pinging: int | None
    busy: int | None
    operations: str | None


class OperationsRow(NamedTuple):
    """Earlier operations of a checkout that has many: a JSON list of :class:`PackedOperation`."""

    checkout_id: int
    number: int
    operations: str


class SampleRow(NamedTuple):
    """What the owner of a checkout was seen doing; ``activity`` is the number of a text.

    ``started`` is in microseconds since the process began, ``ended`` since ``started``.
    """

    id: int
    checkout_id: int
    activity: int
    site_id: int | None
    started: int
    ended: int | None


class LockWaitRow(NamedTuple):
    """A stretch in which the server said that a checkout's statement waited for a lock.

    ``blocker_id`` is the checkout that held it; of a session that was not recorded, ``session`` is
    the number of a text that describes it. ``started`` is in microseconds since the process began,
    ``ended`` since ``started``.
    """

    id: int
    checkout_id: int
    blocker_id: int | None
    session: int | None
    started: int
    ended: int | None


TABLES: dict[str, tuple[str, ...]] = {
    "pools": PoolRow._fields,
    "texts": TextRow._fields,
    "sites": SiteRow._fields,
    "packed_requests": RequestRow._fields,
    "packed_checkouts": CheckoutRow._fields,
    "packed_operations": OperationsRow._fields,
    "packed_samples": SampleRow._fields,
    "packed_lock_waits": LockWaitRow._fields,
}
"""The columns of each table, in order."""


def row_maker(row: Callable[P, tuple[Any, ...]]) -> Callable[P, tuple[Any, ...]]:
    """Makes a class's rows as plain tuples, from columns by name, in a quarter of its own time.

    The recorder makes several rows for each request. A class that is called with keywords takes
    two microseconds for each, a function a fifth of that.
    """
    names = ",".join(row._fields)  # type: ignore[attr-defined]
    # As namedtuple() does: the names are those of a class in this file.
    made: Callable[P, tuple[Any, ...]] = eval(f"lambda {names}: ({names},)")  # noqa: S307
    return made


class PackedOperation(NamedTuple):
    """An operation as a row of its checkout has it: of one in flight, ``duration`` is ``None``.

    ``since`` is microseconds from asking for the connection, ``duration`` microseconds; the others
    are numbers of texts, and of a site.
    """

    kind: int
    since: int
    duration: int | None = None
    site: int | None = None
    statement: int | None = None
    error: int | None = None
    cause: int | None = None


class PackedStage(NamedTuple):
    """A stage as the row of its request has it: of one in progress, ``duration`` is ``None``.

    ``since`` is microseconds from the request's start, ``duration`` microseconds. ``name`` is the
    number of a text, ``site`` that of what is closed in the stage.
    """

    name: int
    since: int
    duration: int | None = None
    site: int | None = None


# What follows writes these lists by hand, and reads them: there are many.


def pack_operation(
    kind: int,
    since: int,
    duration: int | None,
    site: int | None,
    statement: int | None,
    error: int | None,
    cause: int | None,
) -> str:
    """The JSON of a :class:`PackedOperation`, without what is missing at its end."""
    lasted = "null" if duration is None else duration
    if error is None and cause is None:
        # Nearly all of them: written without a detour.
        if statement is not None:
            at = "null" if site is None else site
            return f"[{kind},{since},{lasted},{at},{statement}]"
        if site is not None:
            return f"[{kind},{since},{lasted},{site}]"
        return f"[{kind},{since}]" if duration is None else f"[{kind},{since},{duration}]"
    rest = (site, statement, error, cause)
    told = ",".join("null" if number is None else str(number) for number in rest)
    return f"[{kind},{since},{lasted},{told.removesuffix(',null')}]"


def pack_stage(name: int, since: int, duration: int | None, site: int | None) -> str:
    """The JSON of a :class:`PackedStage`, without a site that is missing."""
    lasted = "null" if duration is None else duration
    return f"[{name},{since},{lasted}]" if site is None else f"[{name},{since},{lasted},{site}]"


def pack_list(parts: list[str]) -> str | None:
    """The JSON list of packed operations or stages; ``None`` if there are none."""
    return f"[{','.join(parts)}]" if parts else None


def packed_operations(packed: str) -> Iterator[PackedOperation]:
    """The operations of a JSON list that :func:`pack_list` made."""
    return (PackedOperation(*part) for part in json.loads(packed))


def packed_stages(packed: str) -> Iterator[PackedStage]:
    """The stages of a JSON list that :func:`pack_list` made."""
    return (PackedStage(*part) for part in json.loads(packed))
