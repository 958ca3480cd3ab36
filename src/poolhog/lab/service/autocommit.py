"""The notes service on SQLAlchemy Core: a connection in AUTOCOMMIT for each statement."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
from typing import Any

import sqlalchemy
from fastapi import FastAPI

from poolhog.lab.service.application import create_base
from poolhog.lab.service.external import ExternalApi
from poolhog.lab.service.notes import (
    Note,
    NoteRow,
    existing,
    notes,
    synchronization,
    validate_note_id,
    written,
)
from poolhog.lab.service.sessions import create_engine, disposing
from poolhog.lab.service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The style of encode/databases without that library: no transactions."""
    engine = create_engine(settings, isolation_level="AUTOCOMMIT")
    external_api = ExternalApi(settings)
    app = create_base(disposing(engine), external_api)

    @app.get("/notes/{note_id}", response_model=Note)
    async def get_note(note_id: int) -> NoteRow:
        validate_note_id(note_id)
        query = sqlalchemy.select(notes).where(notes.c.id == note_id)
        return existing(await fetch_one(query))

    @app.post("/notes/{note_id}/synchronize", response_model=Note)
    async def synchronize_note(note_id: int) -> NoteRow:
        validate_note_id(note_id)
        query = sqlalchemy.select(notes).where(notes.c.id == note_id)
        note = existing(await fetch_one(query))
        updated_note_data = await external_api.sync_note(note_id)
        update = synchronization(note, updated_note_data, checked=settings.checks_version)
        return written(await fetch_one(update))

    async def fetch_one(statement: sqlalchemy.Executable) -> sqlalchemy.Row[Any] | None:
        async with engine.connect() as connection:
            result = await connection.execute(statement)
            return result.one_or_none()

    return app
