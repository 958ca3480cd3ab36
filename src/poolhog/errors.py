"""The errors that poolhog raises, each with the exit code its verb ends with."""

from __future__ import annotations

from poolhog.texts import visible


class PoolhogError(Exception):
    """Something a user can mend; its text is one line that says what to do.

    What it quotes cannot be more than text: see ``poolhog.texts.visible``. Verbs print the text
    without a traceback and exit with ``exit_code``.
    """

    exit_code = 2

    def __init__(self, text: str) -> None:
        super().__init__(visible(text))


class TraceError(PoolhogError):
    """A trace is missing, damaged, or written by a newer poolhog."""


class OutputError(PoolhogError):
    """A place to write to is not writable, or holds something already."""


class DatabaseError(PoolhogError):
    """A database cannot be started or reached, or its URL is malformed."""


class ChildError(PoolhogError):
    """A process that poolhog started failed, or ended before its work was done."""


class Interrupted(PoolhogError):
    """The user pressed Ctrl-C; what was finished by then is kept."""

    exit_code = 130
