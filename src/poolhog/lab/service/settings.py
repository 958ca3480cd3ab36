"""The settings of a notes service, which it gets through its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "POOLHOG_LAB_"

APPLICATION_NAME = "poolhog-lab"
"""The service's ``application_name``, by which its connections are counted in PostgreSQL."""


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
    """The settings of one notes service.

    ``database_url`` is a plain ``postgresql://`` URL and ``schema`` its search path (``None``: the
    server's default). ``pool_timeout`` is how long a request may wait for a connection, and
    ``external_api_timeout`` how long for the external API, in seconds. A ``max_overflow`` of -1 is
    unlimited. Without ``keeps_connections`` the pool is a ``NullPool``. ``through_pgbouncer`` says
    that the URL leads to a PgBouncer in transaction mode. ``checks_version`` makes a synchronize
    refuse to write a note that another request wrote meanwhile. ``shares`` is the folder from which
    each of several workers takes the size of its pool; ``None`` if all have ``pool_size``.
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

        Raises ``KeyError`` if a variable is missing, ``ValueError`` if a value is invalid.
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
        """The environment variables to start the service with; an empty one means ``None``.

        Every variable is always set, so that none is inherited from the user's shell.
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
