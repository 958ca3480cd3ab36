"""Which locks a statement takes, and which it can wait for, as far as its text tells."""

from __future__ import annotations

import functools
import re
from enum import Enum, auto
from typing import NamedTuple


class Reach(Enum):
    """What a lock is on: rows of tables, whole tables, or a number that the application chose.

    ``READ`` is a statement that only waits for locks on whole tables.
    """

    READ = auto()
    ROWS = auto()
    TABLES = auto()
    ADVISORY = auto()
    SESSION = auto()


class Lock(NamedTuple):
    """What a statement locks: ``tables`` in lower case; ``waits`` is ``False`` if it never waits.

    An advisory lock of the ``SESSION`` outlives its transaction. A statement that is ``pure`` does
    nothing but take a lock: if it lasts, it waits.
    """

    reach: Reach
    tables: frozenset[str] = frozenset()
    waits: bool = True
    pure: bool = False

    def can_wait_for(self, held: Lock) -> bool:
        """Whether a statement that takes this lock may wait for one that another holds."""
        advisory = Reach.ADVISORY, Reach.SESSION
        if self.reach in advisory or held.reach in advisory:
            return self.reach in advisory and held.reach in advisory
        if not self.tables & held.tables:
            return False
        if Reach.TABLES in (self.reach, held.reach):
            return True
        return self.reach is Reach.ROWS and held.reach is Reach.ROWS


_NAME = r'((?:[\w$]+|"[^"]+"|`[^`]+`|\[[^\]]+\])(?:\s*\.\s*(?:[\w$]+|"[^"]+"|`[^`]+`|\[[^\]]+\]))*)'
_FLAGS = re.IGNORECASE
_ADVISORY = re.compile(r"\bpg_(try_)?advisory_(xact_)?lock(?:_shared)?\b|\bget_lock\s*\(", _FLAGS)
_UNLOCK = re.compile(r"\bpg_advisory_unlock|\brelease_lock\s*\(|\bdiscard\s+all\b", _FLAGS)
_WRITE = re.compile(
    r"(?<!for )(?<!for no key )(?<!do )(?<!on )\bupdate\s+(?:only\s+)?(?!set\b)" + _NAME
    + r"|\bdelete\s+from\s+(?:only\s+)?" + _NAME
    + r"|\b(?:insert(?:\s+or\s+\w+)?|replace|merge)\s+into\s+(?:only\s+)?" + _NAME
    + r"|^\s*copy\s+" + _NAME + r"[^;]*\bfrom\b",
    _FLAGS,
)  # fmt: skip
_TABLE = re.compile(
    r"^\s*(?:lock\s+(?:tables?\s+)?(?:only\s+)?"
    r"|alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?"
    r"|truncate\s+(?:table\s+)?(?:only\s+)?"
    r"|drop\s+table\s+(?:if\s+exists\s+)?"
    r"|refresh\s+materialized\s+view\s+"
    r"|create\s+(?:unique\s+)?index\s+(?!concurrently)[^(]*?\bon\s+(?:only\s+)?)" + _NAME,
    _FLAGS,
)
_LOCK_TABLE = re.compile(r"^\s*lock\s", _FLAGS)
_FOR = re.compile(r"\bfor\s+(?:no\s+key\s+update|update|key\s+share|share)\b", _FLAGS)
_NEVER = re.compile(r"\b(?:skip\s+locked|nowait)\b", _FLAGS)
_FROM = re.compile(r"\b(?:from|join|using)\s+(?:only\s+|lateral\s+)?" + _NAME, _FLAGS)
_BEGIN = re.compile(r"^\s*begin\s+(?:immediate|exclusive)\b", _FLAGS)
_OPENS = re.compile(r"^\s*(?:begin|start\s+transaction)\b", _FLAGS)


@functools.lru_cache(maxsize=10_000)
def lock_of(statement: str) -> Lock | None:
    """What a statement locks, or waits for; ``None`` if its text tells of nothing."""
    advisory = _ADVISORY.search(statement)
    if advisory is not None:
        tried, in_transaction = advisory.groups()
        reach = Reach.ADVISORY if in_transaction else Reach.SESSION
        return Lock(reach, waits=not tried, pure=_FROM.search(statement) is None)
    waits = _NEVER.search(statement) is None
    table = _TABLE.search(statement)
    if table is not None:
        is_pure = _LOCK_TABLE.match(statement) is not None
        return Lock(Reach.TABLES, _names(table.groups()), waits, is_pure)
    written = [name for found in _WRITE.finditer(statement) for name in found.groups()]
    if written:
        return Lock(Reach.ROWS, _names(written), waits)
    read = _names(_FROM.findall(statement))
    if not read:
        return None
    return Lock(Reach.ROWS if _FOR.search(statement) else Reach.READ, read, waits)


def unlocks(statement: str) -> bool:
    """Whether a statement gives advisory locks of its session back."""
    return _UNLOCK.search(statement) is not None


def takes_write_lock(statement: str) -> bool:
    """Whether a statement makes its connection the one that may write to a file of SQLite's."""
    if _BEGIN.match(statement):
        return True
    lock = lock_of(statement)
    return lock is not None and lock.reach in (Reach.ROWS, Reach.TABLES)


def begins(statement: str) -> bool:
    """Whether a statement begins a transaction."""
    return _OPENS.match(statement) is not None


def _names(found: object) -> frozenset[str]:
    """The names of tables without their schemas and quotes, in lower case."""
    parts = (str(name).rpartition(".")[2] for name in found if name)  # type: ignore[attr-defined]
    return frozenset(part.strip().strip('"`[]').casefold() for part in parts)
