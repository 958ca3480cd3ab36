"""A small recorded service: ``service.py DIRECTORY DATABASE HOW``, which ends as it is told.

It answers requests over a pool of three SQLite connections, with what a trace can hold: statements
that succeed and fail, rollbacks, waits, a timeout, parked connections, stages, and, at its end, a
connection that is lent with a statement behind it, one in a statement, and a request that waits.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

import poolhog


def main(directory: str, database: str, how: str) -> None:
    poolhog.install(directory)
    engine = sa.create_engine(
        f"sqlite:///{database}", pool_size=2, max_overflow=1, pool_timeout=0.1
    )
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS notes (id INTEGER, text TEXT)"))
    app = FastAPI()

    @app.get("/notes/{note_id}")
    def read(note_id: int) -> int:
        with engine.connect() as connection:
            return len(connection.execute(sa.text(f"SELECT {note_id}, * FROM notes")).all())

    @app.post("/notes/{note_id}/slow")
    def slow(note_id: int) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 'held'"))
            time.sleep(0.03)

    @app.get("/lost")
    def lost() -> None:
        with engine.connect() as connection:
            connection.execute(sa.text("INSERT INTO notes VALUES (1, 'lost')"))

    @app.get("/broken")
    def broken() -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT * FROM nothing"))

    with TestClient(app, raise_server_exceptions=False) as client:
        for number in range(12):
            client.get(f"/notes/{number}")
        fold_in_what_is_there(Path(directory))
        threads = [
            threading.Thread(target=client.post, args=[f"/notes/{n}/slow"]) for n in range(9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for path in ("/lost", "/broken", "/nowhere"):
            client.get(path)
        if how == "killed":
            kill_in_the_midst(engine, client)


def fold_in_what_is_there(directory: Path) -> None:
    """Have a part of the trace in its file, and what comes after it in the log."""
    time.sleep(0.3)
    (file,) = directory.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")


def kill_in_the_midst(engine: sa.Engine, client: TestClient) -> None:
    held = engine.connect()
    held.execute(sa.text("SELECT 'open'"))
    busy = engine.connect()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    threading.Thread(target=busy.execute, args=[sa.text(endless)], daemon=True).start()
    threading.Thread(target=client.post, args=["/notes/1/slow"], daemon=True).start()
    time.sleep(0.05)
    third = engine.connect()
    threading.Thread(target=client.get, args=["/notes/2"], daemon=True).start()
    time.sleep(0.3)
    assert third is not held
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
