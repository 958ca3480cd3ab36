"""The notes service that answers first, and asks the external API afterwards."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import sqlalchemy
from fastapi import BackgroundTasks, FastAPI

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
    """The style in which a synchronize answers with the note as it was before.

    No session comes from a dependency: it would stay open, and keep its connection, until the
    background task is done. The endpoint and the task have sessions of their own.
    """
    engine = create_engine(settings)
    async_session = create_sessions(engine)
    external_api = ExternalApi(settings)
    app = create_base(disposing(engine), external_api)

    @app.get("/notes/{note_id}", response_model=Note)
    async def get_note(note_id: int) -> NoteRow:
        validate_note_id(note_id)
        return await read(note_id)

    @app.post("/notes/{note_id}/synchronize", response_model=Note)
    async def synchronize_note(note_id: int, tasks: BackgroundTasks) -> NoteRow:
        validate_note_id(note_id)
        note = await read(note_id)
        tasks.add_task(write_synchronized, note)
        return note

    async def write_synchronized(note: NoteRow) -> None:
        updated_note_data = await external_api.sync_note(note.id)
        async with async_session.begin() as writing:
            update = synchronization(note, updated_note_data, checked=settings.checks_version)
            result = await writing.execute(update)
            written(result.one_or_none())

    async def read(note_id: int) -> NoteRow:
        async with async_session.begin() as reading:
            query = sqlalchemy.select(notes).where(notes.c.id == note_id)
            result = await reading.execute(query)
            return result.one()

    return app
