"""The notes service with explicit transactions: short ones, and none during the external call."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import sqlalchemy
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from poolhog.lab.service.application import create_base
from poolhog.lab.service.external import ExternalApi
from poolhog.lab.service.notes import Note, NoteRow, notes, unchanged, validate_note_id, written
from poolhog.lab.service.sessions import create_engine, disposing, session_dependency
from poolhog.lab.service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The style that begins and ends each transaction explicitly."""
    return _create_app(settings, autobegin=True)


def create_app_without_autobegin(settings: Settings) -> FastAPI:
    """The explicit style with a session that refuses statements outside of a transaction."""
    return _create_app(settings, autobegin=False)


def _create_app(settings: Settings, *, autobegin: bool) -> FastAPI:
    engine = create_engine(settings)
    session = Depends(session_dependency(engine, autobegin=autobegin))
    external_api = ExternalApi(settings)
    app = create_base(disposing(engine), external_api)

    @app.get("/notes/{note_id}", response_model=Note)
    async def get_note(note_id: int, database: AsyncSession = session) -> NoteRow:
        validate_note_id(note_id)
        async with database.begin():
            query = sqlalchemy.select(notes).where(notes.c.id == note_id)
            result = await database.execute(query)
            return result.one()

    @app.post("/notes/{note_id}/synchronize", response_model=Note)
    async def synchronize_note(note_id: int, database: AsyncSession = session) -> NoteRow:
        validate_note_id(note_id)
        async with database.begin():
            query = sqlalchemy.select(notes).where(notes.c.id == note_id)
            result = await database.execute(query)
            note = result.one()
        updated_note_data = await external_api.sync_note(note_id)
        async with database.begin():
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
            return written(result.one_or_none())

    return app
