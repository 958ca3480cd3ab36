"""Notes: the table, the answers of the service, and the ids and writes that it accepts."""

# Annotations are evaluated here: pydantic reads them to build the model.
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import NoResultFound
from sqlalchemy.sql.dml import ReturningUpdate

# The largest value of the column's type: PostgreSQL refuses a larger one.
_LARGEST_ID = 2**31 - 1

notes = sqlalchemy.Table(
    "notes",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True, autoincrement=False),
    sqlalchemy.Column("data", sqlalchemy.Text, nullable=False),
    sqlalchemy.Column("synchronized_at", sqlalchemy.DateTime(timezone=True)),
    # The number of synchronizations, each of which adds one to the version that it read.
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
    """Another request wrote the note after this one had read it."""


def unchanged(seen: int, *, checked: bool) -> sqlalchemy.ColumnElement[bool]:
    """The condition that a note still has the version ``seen``; always true unless ``checked``."""
    return notes.c.version == seen if checked else sqlalchemy.true()


def synchronization(note: NoteRow, data: str, *, checked: bool) -> ReturningUpdate[Any]:
    """The update that writes a note's new data and its next version, and returns the note.

    If it is ``checked``, it finds no note to update once another request has written it.
    """
    return (
        sqlalchemy.update(notes)
        .values(data=data, version=note.version + 1, synchronized_at=sqlalchemy.func.now())
        .where(notes.c.id == note.id)
        .where(unchanged(note.version, checked=checked))
        .returning(notes)
    )


def existing(row: R | None) -> R:
    """The note that a query found. Raises ``NoResultFound`` if there is none."""
    if row is None:
        raise NoResultFound
    return row


def written(row: R | None) -> R:
    """The note that an update returned. Raises ``NoteChanged`` if it updated none."""
    if row is None:
        raise NoteChanged("the note was changed meanwhile: ask again")
    return row


def validate_note_id(note_id: int) -> None:
    """Raise ``InvalidNoteId`` unless a note can have this id."""
    if not 1 <= note_id <= _LARGEST_ID:
        raise InvalidNoteId(f"a note's id is from 1 to {_LARGEST_ID}, not {note_id}")
