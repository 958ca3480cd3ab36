"""What a notes service is told by the process that starts it, through its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "POOLHOG_LAB_"

APPLICATION_NAME = "poolhog-lab"
"""What the service calls itself to PostgreSQL, so that its connections can be counted there."""


class Style(StrEnum):
    """A way of working with the database."""

    IMPLICIT = "implicit"
    IMPLICIT_FORGOTTEN_COMMIT = "implicit-forgotten-commit"
    IMPLICIT_FUNCTION_SCOPE = "implicit-function-scope"
    EXPLICIT = "explicit"
    PER_QUERY = "per-query"
    COMMIT_BEFORE_CALL = "commit-before-call"
    CLOSE_BEFORE_CALL = "close-before-call"
    TWO_SESSIONS = "two-sessions"
    NO_AUTOBEGIN = "no-autobegin"
    AUTOCOMMIT = "autocommit"
    BACKGROUND_TASK = "background-task"


@dataclass(frozen=True, slots=True)
class Settings:
    """One notes service.

    ``database_url`` is a plain ``postgresql://`` URL and ``schema`` its search path (``None``: as
    the server has it). ``pool_timeout`` is how long a request may wait for a connection,
    ``external_api_timeout`` how long for the external API. A ``max_overflow`` of -1 is none that
    ends. Not to keep connections means ``NullPool``; ``through_pgbouncer`` that the database is
    reached through one in transaction mode. ``checks_version`` makes a synchronize refuse to
    write a note that another wrote meanwhile. ``shares`` is the folder in which each of several
    workers finds the size of its own pool, none that all have ``pool_size``.
    """

    style: Style
    database_url: str
    external_api_url: str
    schema: str | None = None
    pool_size: int = 5
    max_overflow: int = 0
    pool_timeout: float = 30.0
    external_api_timeout: float = 30.0
    keeps_connections: bool = True
    through_pgbouncer: bool = False
    checks_version: bool = False
    shares: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings that ``to_environ`` wrote.

        Raises ``KeyError`` if a variable is missing, ``ValueError`` if one makes no sense.
        """

        def value(name: str) -> str:
            return environ[_PREFIX + name]

        return cls(
            style=Style(value("STYLE")),
            database_url=value("DATABASE_URL"),
            external_api_url=value("EXTERNAL_API_URL"),
            schema=value("SCHEMA") or None,
            pool_size=int(value("POOL_SIZE")),
            max_overflow=int(value("MAX_OVERFLOW")),
            pool_timeout=float(value("POOL_TIMEOUT")),
            external_api_timeout=float(value("EXTERNAL_API_TIMEOUT")),
            keeps_connections=value("KEEPS_CONNECTIONS") == str(True),
            through_pgbouncer=value("THROUGH_PGBOUNCER") == str(True),
            checks_version=value("CHECKS_VERSION") == str(True),
            shares=value("SHARES") or None,
        )

    def to_environ(self) -> dict[str, str]:
        """The variables to start the service with; an empty one means ``None``.

        All of them are always there, so that none is inherited from the user's shell.
        """
        values = {
            "STYLE": self.style,
            "DATABASE_URL": self.database_url,
            "EXTERNAL_API_URL": self.external_api_url,
            "SCHEMA": self.schema,
            "POOL_SIZE": self.pool_size,
            "MAX_OVERFLOW": self.max_overflow,
            "POOL_TIMEOUT": self.pool_timeout,
            "EXTERNAL_API_TIMEOUT": self.external_api_timeout,
            "KEEPS_CONNECTIONS": self.keeps_connections,
            "THROUGH_PGBOUNCER": self.through_pgbouncer,
            "CHECKS_VERSION": self.checks_version,
            "SHARES": self.shares,
        }
        return {
            _PREFIX + name: "" if value is None else str(value) for name, value in values.items()
        }
