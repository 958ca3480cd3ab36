"""The notes service of the talk, written once for each style of working with the database."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from poolhog.lab.service.settings import Settings, Style
from poolhog.lab.service.shares import take

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Settings", "Style", "create_app"]


def create_app() -> FastAPI:
    """The service that the environment describes. Uvicorn calls this factory."""
    app = build_app(_own_part(Settings.from_environ()))
    _collect_garbage_less_often()
    return app


def build_app(settings: Settings) -> FastAPI:
    """The application of a style; its libraries are imported here, not before."""
    from poolhog.lab.service import (
        autocommit,
        background,
        explicit,
        implicit,
        per_query,
        released,
        two_sessions,
    )

    factories = {
        Style.IMPLICIT: implicit.create_app,
        Style.IMPLICIT_FORGOTTEN_COMMIT: implicit.create_app_forgetting_commit,
        Style.IMPLICIT_FUNCTION_SCOPE: implicit.create_app_with_function_scope,
        Style.EXPLICIT: explicit.create_app,
        Style.PER_QUERY: per_query.create_app,
        Style.COMMIT_BEFORE_CALL: released.create_app_committing,
        Style.CLOSE_BEFORE_CALL: released.create_app_closing,
        Style.TWO_SESSIONS: two_sessions.create_app,
        Style.NO_AUTOBEGIN: explicit.create_app_without_autobegin,
        Style.AUTOCOMMIT: autocommit.create_app,
        Style.BACKGROUND_TASK: background.create_app,
    }
    return factories[settings.style](settings)


def _own_part(settings: Settings) -> Settings:
    """The settings of this worker: if workers divide the connections, with its own pool size."""
    if settings.shares is None:
        return settings
    return replace(settings, pool_size=take(Path(settings.shares)))


def _collect_garbage_less_often() -> None:
    """Tune the garbage collector as services under load do.

    With the defaults, about a seventh of the CPU at a thousand users goes into looking through
    requests in flight, which are no garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
