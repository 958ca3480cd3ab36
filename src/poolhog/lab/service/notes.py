"""Notes: the table, what the service answers with, and which ids and writes it takes."""

# Annotations are evaluated here: pydantic reads them to build the model.
from datetime import datetime
from typing import Any, TypeVar

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
    # How often it was synchronized, as those who did so knew.
    sqlalchemy.Column("version", sqlalchemy.Integer, nullable=False, server_default="0"),
)

# A selected note: the table's columns by name.
NoteRow = sqlalchemy.Row[Any]

R = TypeVar("R")


class Note(BaseModel):
    """A note as the service answers with it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    data: str
    synchronized_at: datetime | None


class InvalidNoteId(ValueError):
    """An id that no note can have."""


class NoteChanged(Exception):
    """A note is not what it was when it was read: another request wrote it."""


def unchanged(seen: int, *, checked: bool) -> sqlalchemy.ColumnElement[bool]:
    """The condition that a note still has the version that was seen; unless ``checked``, none."""
    return notes.c.version == seen if checked else sqlalchemy.true()


def written(row: R | None) -> R:
    """The note that an update returned. Raises ``NoteChanged`` if it found none to write."""
    if row is None:
        raise NoteChanged("the note was changed meanwhile: ask again")
    return row


def validate_note_id(note_id: int) -> None:
    """Raise ``InvalidNoteId`` unless a note can have this id."""
    if not 1 <= note_id <= _LARGEST_ID:
        raise InvalidNoteId(f"a note's id is from 1 to {_LARGEST_ID}, not {note_id}")
