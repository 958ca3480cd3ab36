"""Probes: where facts come from. Each watches one library, from the moment it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.probes import asyncpg, fastapi, sqlalchemy, starlette
from poolhog.probes.patching import Patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.recording.recorder import Recorder

PROBES: tuple[tuple[str, Callable[[Recorder, Patches], None]], ...] = (
    ("sqlalchemy", sqlalchemy.watch_pools),
    ("sqlalchemy.orm.session", sqlalchemy.watch_sessions),
    ("asyncpg", asyncpg.watch_pools),
    ("starlette.applications", starlette.watch_requests),
    ("fastapi.routing", fastapi.watch_stages),
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
