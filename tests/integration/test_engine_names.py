"""Engines have names that tell them apart, and no more than that needs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import poolhog

if TYPE_CHECKING:
    from pathlib import Path

USE = """
def use(engine):
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("engine = make('a')\nuse(engine)", ["sqlite+pysqlite"]),
        (
            "users, orders = make('users'), make('orders')\nuse(users)\nuse(orders)",
            ["sqlite+pysqlite users.db", "sqlite+pysqlite orders.db"],
        ),
        (
            "writer, reader = make('a'), make('a')\nuse(writer)\nuse(reader)",
            ["sqlite+pysqlite writer", "sqlite+pysqlite reader"],
        ),
        # A pool that takes the place of another has its name.
        (
            "users, _ = make('users'), make('b')\nuse(users)\nusers.dispose()\nuse(users)",
            ["sqlite+pysqlite users.db"] * 2,
        ),
        ("for _ in range(4):\n    engine = make('a')\n    use(engine)", ["sqlite+pysqlite"] * 4),
        (
            "one, two = make('a', pool_logging_name='mine'), make('b')\nuse(one)\nuse(two)",
            ["mine", "sqlite+pysqlite b.db"],
        ),
    ],
)
def test_the_name_of_a_pool(tmp_path: Path, program: str, expected: list[str]) -> None:
    make = f"""
    import sqlalchemy as sa

    def make(name, **options):
        return sa.create_engine(f"sqlite:///{tmp_path}/{{name}}.db", **options)
    """
    file = tmp_path / "service.py"
    file.write_text(textwrap.dedent(make) + USE + program + "\n")
    trace = tmp_path / "trace"
    command = [sys.executable, "-m", "poolhog", "run", "-o", str(trace), "--"]
    subprocess.run([*command, sys.executable, str(file)], check=True, capture_output=True)
    found = poolhog.open_trace(trace)
    assert [pool.name for pool in found.pools] == expected
    assert [process.errors for process in found.processes] == [0]
