"""The notes service that reads with one session and writes with another."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import sqlalchemy
from fastapi import FastAPI

from poolhog.lab.service.application import create_base
from poolhog.lab.service.external import ExternalApi
from poolhog.lab.service.notes import (
    Note,
    NoteRow,
    notes,
    synchronization,
    validate_note_id,
    written,
)
from poolhog.lab.service.sessions import create_engine, create_sessions, disposing
from poolhog.lab.service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The style in which no session is open during the external call."""
    engine = create_engine(settings)
    async_session = create_sessions(engine)
    external_api = ExternalApi(settings)
    app = create_base(disposing(engine), external_api)

    @app.get("/notes/{note_id}", response_model=Note)
    async def get_note(note_id: int) -> NoteRow:
        validate_note_id(note_id)
        return await read(note_id)

    @app.post("/notes/{note_id}/synchronize", response_model=Note)
    async def synchronize_note(note_id: int) -> NoteRow:
        validate_note_id(note_id)
        note = await read(note_id)
        updated_note_data = await external_api.sync_note(note_id)
        async with async_session() as writing:
            update = synchronization(note, updated_note_data, checked=settings.checks_version)
            result = await writing.execute(update)
            await writing.commit()
            row: NoteRow | None = result.one_or_none()
            return written(row)

    async def read(note_id: int) -> NoteRow:
        async with async_session() as reading:
            query = sqlalchemy.select(notes).where(notes.c.id == note_id)
            result = await reading.execute(query)
            return result.one()

    return app
