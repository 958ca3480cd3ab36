"""Notes: the table, what the service answers with, and which ids it takes."""

# Annotations are evaluated here: pydantic reads them to build the model.
from datetime import datetime
from typing import Any

import sqlalchemy
from pydantic import BaseModel, ConfigDict

# The largest value of the column's type: PostgreSQL refuses a larger one.
_LARGEST_ID = 2**31 - 1

notes = sqlalchemy.Table(
    "notes",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True, autoincrement=False),
    sqlalchemy.Column("data", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("synchronized_at", sqlalchemy.DateTime(timezone=True)),
)

# A selected note: the table's columns by name.
NoteRow = sqlalchemy.Row[Any]


class Note(BaseModel):
    """A note as the service answers with it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    data: str
    synchronized_at: datetime | None


class InvalidNoteId(ValueError):
    """An id that no note can have."""


def validate_note_id(note_id: int) -> None:
    """Raise ``InvalidNoteId`` unless a note can have this id."""
    if not 1 <= note_id <= _LARGEST_ID:
        raise InvalidNoteId(f"a note's id is from 1 to {_LARGEST_ID}, not {note_id}")
