"""What a process says of itself in its trace file: once, and with every commit."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.layout import SCHEMA_VERSION
from poolhog.recording.secrets.arguments import kept_arguments

if TYPE_CHECKING:
    from poolhog.recording.recorder import Recorder

_WATCHED = (
    *("sqlalchemy", "asyncpg", "psycopg", "psycopg_pool", "psycopg2", "aiosqlite"),
    *("fastapi", "starlette", "litestar", "uvicorn", "gunicorn", "celery", "pytest"),
)


def description(recorder: Recorder) -> dict[str, str]:
    """What never changes about this process."""
    return {
        "schema_version": str(SCHEMA_VERSION),
        "poolhog_version": _own_version(),
        "pid": str(os.getpid()),
        "parent_pid": str(os.getppid()),
        # An interpreter inside of another program has none.
        "argv": json.dumps([sys.executable, *kept_arguments(getattr(sys, "argv", ()))]),
        "wall_ns": str(recorder.began_wall_ns),
        "monotonic_ns": str(recorder.began_ns),
        "sampling_interval_s": str(recorder.options.sampling_interval_s),
        "versions": json.dumps(_versions()),
    }


def progress(recorder: Recorder) -> dict[str, str]:
    """What changes with every commit."""
    return {
        "written_ns": str(time.monotonic_ns()),
        "dropped": str(recorder.dropped),
        "dropped_checkouts": str(recorder.dropped_checkouts),
        "errors": str(recorder.errors),
    }


def _versions() -> dict[str, str]:
    """The versions of what runs here, of the libraries that poolhog watches or cares about."""
    found = {"python": sys.version.split()[0]}
    for name in _WATCHED:
        version = _version(name) if name in sys.modules else None
        if version is not None:
            found[name] = version
    return found


def _own_version() -> str:
    """The version of poolhog, which is often loaded from beside the application's path."""
    beside = str(Path(__file__).parents[2])
    for found in metadata.distributions(name="poolhog", path=[beside]):
        return found.version
    return _version("poolhog") or "unknown"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
