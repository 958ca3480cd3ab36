"""The notes service with implicit transactions: the first ``execute`` begins one."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
from typing import Literal

import sqlalchemy
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from poolhog.lab.service.application import create_base
from poolhog.lab.service.external import ExternalApi
from poolhog.lab.service.notes import Note, NoteRow, notes, unchanged, validate_note_id, written
from poolhog.lab.service.sessions import create_engine, disposing, session_dependency
from poolhog.lab.service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The style that commits before it returns the note it has written."""
    return _create_app(settings, scope="request", commits=True)


def create_app_forgetting_commit(settings: Settings) -> FastAPI:
    """The implicit style without the commit: it answers 200, and the write is lost."""
    return _create_app(settings, scope="request", commits=False)


def create_app_with_function_scope(settings: Settings) -> FastAPI:
    """The implicit style with a session that is closed before the response is sent."""
    return _create_app(settings, scope="function", commits=True)


def _create_app(
    settings: Settings, *, scope: Literal["request", "function"], commits: bool
) -> FastAPI:
    engine = create_engine(settings)
    session = Depends(session_dependency(engine), scope=scope)
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
        if commits:
            await database.commit()
        return written(result.one_or_none())

    return app
