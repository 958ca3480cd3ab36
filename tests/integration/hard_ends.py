"""Processes that use a pool until somebody kills them, and what their traces say."""

from __future__ import annotations

import csv
import io
import os
import signal
import threading
import time
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

import poolhog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def work(directory: Path, pause: float = 0.02) -> None:
    """Use a pool of two from three threads until somebody ends this process."""
    poolhog.install(directory)
    engine = sa.create_engine("sqlite://", pool_size=1, max_overflow=1, poolclass=sa.QueuePool)

    def use() -> None:
        number = 0
        while True:
            number += 1
            with suppress(sa.exc.SQLAlchemyError), engine.connect() as connection:
                connection.execute(sa.text(f"SELECT {number}, :row"), {"row": 1})
                time.sleep(pause)

    for _ in range(3):
        threading.Thread(target=use, daemon=True).start()
    signal.pause()


def is_recorded(trace: Path) -> bool:
    """Whether something is in the trace."""
    try:
        return bool(poolhog.open_trace(trace).checkouts)
    except poolhog.TraceError:
        return False


def forked(act: Callable[[], None]) -> int:
    """The id of a new process that does so, and is not the test's any more."""
    child = os.fork()
    if child:
        return child
    try:
        os.close(1)
        os.close(2)
        act()
    finally:
        os._exit(1)


def rows(file: Path, table: str) -> int:
    """Rows of a table of an export."""
    with zipfile.ZipFile(file) as tables, tables.open(table) as opened:
        return sum(1 for _ in csv.reader(io.TextIOWrapper(opened))) - 1
