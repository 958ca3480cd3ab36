"""Probes: where facts come from. Each watches one library, from the moment it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.probes import (
    asyncpg,
    celery,
    fastapi,
    litestar,
    psycopg,
    psycopg_pool,
    pytest,
    sqlalchemy,
    sqlalchemy_raw,
    sqlalchemy_sessions,
    starlette,
    threads,
    uvicorn,
)
from poolhog.probes.patching import Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.recording.recorder import Recorder

PROBES: tuple[tuple[str, Callable[[Recorder, Patches], None]], ...] = (
    ("sqlalchemy", sqlalchemy.watch_pools),
    ("sqlalchemy", sqlalchemy_raw.watch_raw_connections),
    ("sqlalchemy", sqlalchemy_sessions.watch_connections),
    ("sqlalchemy.orm.session", sqlalchemy_sessions.watch_sessions),
    ("sqlalchemy.ext.asyncio", sqlalchemy_sessions.watch_async),
    ("asyncpg", asyncpg.watch_pools),
    ("psycopg", psycopg.watch_connections),
    ("psycopg_pool", psycopg_pool.watch_pools),
    ("anyio.to_thread", threads.watch_anyio),
    ("asyncio", threads.watch_asyncio),
    ("starlette.applications", starlette.watch_requests),
    ("fastapi.routing", fastapi.watch_requests),
    ("litestar.app", litestar.watch_requests),
    ("uvicorn.middleware.proxy_headers", uvicorn.watch_requests),
    ("celery.signals", celery.watch_tasks),
    ("_pytest.assertion", pytest.watch_assertions),
    ("_pytest.runner", pytest.watch_tests),
)
"""The module that makes a probe useful, and the probe."""


def attach(recorder: Recorder) -> Patches:
    """Let every probe report to the recorder; restoring what is returned ends it.

    A library whose insides are not what a probe expects is not recorded: that is counted and
    told, and the application goes on.
    """
    patches = Patches()
    for module, watch in PROBES:
        patches.when_imported(module, _guarded(watch, recorder, patches))
    return patches


def _guarded(
    watch: Callable[[Recorder, Patches], None], recorder: Recorder, patches: Patches
) -> Callable[[], None]:
    def act() -> None:
        try:
            watch(recorder, patches)
        except Exception:  # the application must start all the same
            recorder.failed()

    return act
