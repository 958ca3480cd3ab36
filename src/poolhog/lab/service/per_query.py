"""The notes service on encode/databases: no session, a connection is checked out per query."""

# Annotations are evaluated here: FastAPI reads them while the application is built.
import sqlalchemy
from databases import Database
from databases.interfaces import Record
from fastapi import FastAPI

from poolhog.lab.service.application import create_base
from poolhog.lab.service.external import ExternalApi
from poolhog.lab.service.notes import (
    Note,
    notes,
    unchanged,
    validate_note_id,
    written,
)
from poolhog.lab.service.notes import (
    existing as _one,  # a short name: the report prints these endpoints
)
from poolhog.lab.service.settings import APPLICATION_NAME, Settings


def create_app(settings: Settings) -> FastAPI:
    """The style in which each query takes a connection and gives it back."""
    database = _create_database(settings)
    external_api = ExternalApi(settings)
    app = create_base(database, external_api)

    @app.get("/notes/{note_id}", response_model=Note)
    async def get_note(note_id: int) -> Record:
        validate_note_id(note_id)
        query = sqlalchemy.select(notes).where(notes.c.id == note_id)
        return _one(await database.fetch_one(query))

    @app.post("/notes/{note_id}/synchronize", response_model=Note)
    async def synchronize_note(note_id: int) -> Record:
        validate_note_id(note_id)
        query = sqlalchemy.select(notes).where(notes.c.id == note_id)
        note = _one(await database.fetch_one(query))
        updated_note_data = await external_api.sync_note(note_id)
        update = (
            sqlalchemy.update(notes)
            .values(
                data=updated_note_data,
                version=note["version"] + 1,
                synchronized_at=sqlalchemy.func.now(),
            )
            .where(notes.c.id == note_id)
            .where(unchanged(note["version"], checked=settings.checks_version))
            .returning(notes)
        )
        return written(await database.fetch_one(update))

    return app


def _create_database(settings: Settings) -> Database:
    # asyncpg's pool has no overflow: its largest size is what QueuePool may open in all. It has
    # no timeout for waiting either, and encode/databases passes none on.
    return Database(
        settings.database_url,
        min_size=settings.pool_size,
        max_size=settings.pool_size + max(settings.max_overflow, 0),
        server_settings={
            "application_name": APPLICATION_NAME,
            **({"search_path": settings.schema} if settings.schema else {}),
        },
    )
