"""The notes service with implicit transactions that end before the external call."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
from collections.abc import Awaitable, Callable

import sqlalchemy
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

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
from poolhog.lab.service.sessions import create_engine, disposing, session_dependency
from poolhog.lab.service.settings import Settings


def create_app_committing(settings: Settings) -> FastAPI:
    """The style that calls ``await database.commit()`` before the external call."""
    return _create_app(settings, AsyncSession.commit)


def create_app_closing(settings: Settings) -> FastAPI:
    """The style that calls ``await database.close()`` before the external call.

    A closed session can be used again.
    """
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
        update = synchronization(note, updated_note_data, checked=settings.checks_version)
        result = await database.execute(update)
        await database.commit()
        return written(result.one_or_none())

    return app
