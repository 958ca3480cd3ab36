"""The remedies: what each changes in the implicit service, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from poolhog.lab.remedy_names import RemedyName
from poolhog.lab.service.settings import Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A service to measure: its style, and how its pool differs from the implicit service's.

    ``pool_size``, ``max_overflow`` and ``workers`` are ``None`` if they are unchanged; several
    ``workers`` divide the same connections among them. ``cost`` says what one gives up.
    """

    name: RemedyName
    cost: str
    style: Style = Style.IMPLICIT
    pool_size: int | None = None
    max_overflow: int | None = None
    keeps_connections: bool = True
    through_pgbouncer: bool = False
    workers: int | None = None

    @property
    def number(self) -> int:
        """The number in the table; 0 is the implicit service, which is to be cured."""
        return list(RemedyName).index(self.name)

    @property
    def answers_when_done(self) -> bool:
        """Whether a note is already written when its synchronize is answered."""
        return self.style is not Style.BACKGROUND_TASK


REMEDIES = (
    Remedy(
        name=RemedyName.IMPLICIT,
        cost="A connection is held through the call.",
    ),
    Remedy(
        name=RemedyName.EXPLICIT,
        style=Style.EXPLICIT,
        cost="Two transactions: the first stays if the second fails, and what was read in it may "
        "be stale in the second.",
    ),
    Remedy(
        name=RemedyName.PER_QUERY,
        style=Style.PER_QUERY,
        cost="No transactions unless asked for: each statement stays if the next fails. A library "
        "without a release since 2024.",
    ),
    Remedy(
        name=RemedyName.COMMIT_BEFORE_CALL,
        style=Style.COMMIT_BEFORE_CALL,
        cost="Two transactions, as explicit. Nothing in the code says where the second begins, and "
        "any use of the session before the call takes a connection again.",
    ),
    Remedy(
        name=RemedyName.CLOSE_BEFORE_CALL,
        style=Style.CLOSE_BEFORE_CALL,
        cost="Two transactions, of which the first is rolled back: what was written before the "
        "call is lost. Loaded objects are detached.",
    ),
    Remedy(
        name=RemedyName.TWO_SESSIONS,
        style=Style.TWO_SESSIONS,
        cost="Two transactions, as explicit. Objects of one session are strangers to the other.",
    ),
    Remedy(
        name=RemedyName.NO_AUTOBEGIN,
        style=Style.NO_AUTOBEGIN,
        cost="Two transactions, as explicit. Every use of a session needs a begin(): what forgets "
        "it fails, instead of holding.",
    ),
    Remedy(
        name=RemedyName.AUTOCOMMIT,
        style=Style.AUTOCOMMIT,
        cost="No transactions at all: each statement stays if the next fails, and no two of them "
        "see the same state.",
    ),
    Remedy(
        name=RemedyName.FUNCTION_SCOPE,
        style=Style.IMPLICIT_FUNCTION_SCOPE,
        cost="The connection is still held through the call; it only goes back before the "
        "response is sent.",
    ),
    Remedy(
        name=RemedyName.POOL_OF_50,
        pool_size=50,
        cost="50 server connections for each process, held idle in a transaction. The limit is "
        "moved, not lifted.",
    ),
    Remedy(
        name=RemedyName.UNLIMITED_OVERFLOW,
        max_overflow=-1,
        cost="A server connection for each request, until PostgreSQL refuses: for every service "
        "that uses it.",
    ),
    Remedy(
        name=RemedyName.NULL_POOL,
        keeps_connections=False,
        cost="The same as unlimited overflow, and a new connection for each transaction.",
    ),
    Remedy(
        name=RemedyName.PGBOUNCER,
        keeps_connections=False,
        through_pgbouncer=True,
        cost="One more process. A transaction keeps its server connection through the call: "
        "requests wait in PgBouncer instead of in the pool. No prepared statements are kept.",
    ),
    Remedy(
        name=RemedyName.FOUR_WORKERS,
        workers=4,
        cost="Four times the memory. A worker's connections are no use to the others, so a burst "
        "can be slower than with one.",
    ),
    Remedy(
        name=RemedyName.BACKGROUND_TASK,
        style=Style.BACKGROUND_TASK,
        cost="The answer has the old note. A failure reaches nobody, a restart loses what is "
        "under way, and nothing slows the callers down.",
    ),
)
"""Every remedy, in the order of :class:`RemedyName`."""


def chosen(names: tuple[RemedyName, ...]) -> tuple[Remedy, ...]:
    """The remedies with these names, or all remedies; the implicit service always comes first.

    All predictions are made from its trace.
    """
    wanted = {RemedyName.IMPLICIT, *(names or RemedyName)}
    return tuple(remedy for remedy in REMEDIES if remedy.name in wanted)
