"""The notes service with implicit transactions that end before the external call."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
from collections.abc import Awaitable, Callable

import sqlalchemy
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from poolhog.lab.service.application import create_base
from poolhog.lab.service.external import ExternalApi
from poolhog.lab.service.notes import Note, NoteRow, notes, unchanged, validate_note_id, written
from poolhog.lab.service.sessions import create_engine, disposing, session_dependency
from poolhog.lab.service.settings import Settings


def create_app_committing(settings: Settings) -> FastAPI:
    """The style that says ``await database.commit()`` before the call."""
    return _create_app(settings, AsyncSession.commit)


def create_app_closing(settings: Settings) -> FastAPI:
    """The style that says ``await database.close()`` before the call: a session can go on then."""
    return _create_app(settings, AsyncSession.close)


def _create_app(settings: Settings, release: Callable[[AsyncSession], Awaitable[None]]) -> FastAPI:
    engine = create_engine(settings)
    session = Depends(session_dependency(engine))
    external_api = ExternalApi(settings)
    app = create_base(disposing(engine), external_api)

    @app.get("/notes/{note_id}", response_model=Note)
    async def get_note(note_id: int, database: AsyncSession = session) -> NoteRow:
        validate_note_id(note_id)
        query = sqlalchemy.select(notes).where(notes.c.id == note_id)
        result = await database.execute(query)
        return result.one()

    @app.post("/notes/{note_id}/synchronize", response_model=Note)
    async def synchronize_note(note_id: int, database: AsyncSession = session) -> NoteRow:
        validate_note_id(note_id)
        query = sqlalchemy.select(notes).where(notes.c.id == note_id)
        result = await database.execute(query)
        note = result.one()
        await release(database)
        updated_note_data = await external_api.sync_note(note_id)
        update = (
            sqlalchemy.update(notes)
            .values(
                data=updated_note_data,
                version=note.version + 1,
                synchronized_at=sqlalchemy.func.now(),
            )
            .where(notes.c.id == note_id)
            .where(unchanged(note.version, checked=settings.checks_version))
            .returning(notes)
        )
        result = await database.execute(update)
        await database.commit()
        return written(result.one_or_none())

    return app
