"""Which locks a statement takes, and which others it can wait for."""

from __future__ import annotations

import pytest

from poolhog.analysis.lock_statements import Lock, Reach, lock_of, takes_write_lock, unlocks


@pytest.mark.parametrize(
    ("statement", "reach", "tables"),
    [
        ("UPDATE counters SET n = n + ? WHERE id = $1", Reach.ROWS, {"counters"}),
        ('UPDATE ONLY public."Foo" SET a = ?', Reach.ROWS, {"foo"}),
        ("delete from shop.orders where id = %s", Reach.ROWS, {"orders"}),
        ("INSERT INTO a (b) VALUES (?) ON CONFLICT (b) DO UPDATE SET b = ?", Reach.ROWS, {"a"}),
        ("INSERT OR IGNORE INTO `t` VALUES (?)", Reach.ROWS, {"t"}),
        ("SELECT c.n \nFROM c \nWHERE c.id = $1::INTEGER FOR UPDATE", Reach.ROWS, {"c"}),
        ("SELECT * FROM a JOIN b ON x FOR NO KEY UPDATE OF a", Reach.ROWS, {"a", "b"}),
        ("WITH c AS (SELECT id FROM jobs FOR UPDATE) UPDATE jobs SET s = ?", Reach.ROWS, {"jobs"}),
        ("COPY t (a) FROM STDIN", Reach.ROWS, {"t"}),
        ("LOCK TABLE x IN ACCESS EXCLUSIVE MODE", Reach.TABLES, {"x"}),
        ("ALTER TABLE IF EXISTS foo ADD COLUMN x int", Reach.TABLES, {"foo"}),
        ("CREATE INDEX i ON foo (x)", Reach.TABLES, {"foo"}),
        ("SELECT n FROM counters", Reach.READ, {"counters"}),
        ("SELECT pg_advisory_xact_lock(hashtext($1))", Reach.ADVISORY, set()),
        ("SELECT pg_advisory_lock(?)", Reach.SESSION, set()),
        ("SELECT GET_LOCK(?, ?)", Reach.SESSION, set()),
    ],
)
def test_what_a_statement_locks(statement: str, reach: Reach, tables: set[str]) -> None:
    pure = reach in (Reach.ADVISORY, Reach.SESSION) or statement.startswith("LOCK")
    assert lock_of(statement) == Lock(reach, frozenset(tables), pure=pure)


@pytest.mark.parametrize("statement", ["SELECT ?", "COMMIT", "SET LOCAL lock_timeout = ?", ""])
def test_what_locks_nothing(statement: str) -> None:
    assert lock_of(statement) is None


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM jobs LIMIT ? FOR UPDATE SKIP LOCKED",
        "SELECT id FROM jobs FOR UPDATE NOWAIT",
        "SELECT pg_try_advisory_lock(?)",
    ],
)
def test_what_never_waits(statement: str) -> None:
    lock = lock_of(statement)
    assert lock is not None
    assert not lock.waits


@pytest.mark.parametrize(
    ("waiting", "holding", "can_wait"),
    [
        ("UPDATE a SET x = ?", "DELETE FROM a", True),
        ("UPDATE a SET x = ?", "UPDATE b SET x = ?", False),
        ("UPDATE a SET x = ?", "SELECT x FROM a", False),
        ("SELECT x FROM a", "UPDATE a SET x = ?", False),
        ("SELECT x FROM a", "ALTER TABLE a ADD COLUMN y int", True),
        ("ALTER TABLE a ADD COLUMN y int", "SELECT x FROM a", True),
        ("SELECT pg_advisory_xact_lock(?)", "SELECT pg_advisory_lock(?)", True),
        ("SELECT pg_advisory_xact_lock(?)", "UPDATE a SET x = ?", False),
    ],
)
def test_what_waits_for_what(waiting: str, holding: str, *, can_wait: bool) -> None:
    one, other = lock_of(waiting), lock_of(holding)
    assert one is not None
    assert other is not None
    assert one.can_wait_for(other) is can_wait


def test_advisory_locks_are_given_back_by_name() -> None:
    assert unlocks("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;")
    assert not unlocks("SELECT pg_advisory_lock(?)")


def test_who_may_write_to_a_file() -> None:
    assert takes_write_lock("BEGIN IMMEDIATE")
    assert takes_write_lock("INSERT INTO t VALUES (?)")
    assert not takes_write_lock("BEGIN")
    assert not takes_write_lock("SELECT x FROM t")
