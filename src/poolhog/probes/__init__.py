"""Probes: where facts come from. Each watches one library, from the moment it is imported.

A probe is a module that declares a :class:`poolhog.probes.probe.Probe`. A new one is a new file,
and a line in ``PROBES``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from poolhog.probes import (
    asyncpg,
    celery,
    clients,
    fastapi,
    litestar,
    psycopg,
    psycopg_pool,
    pytest,
    sqlalchemy,
    starlette,
    threads,
    unrecorded,
    uvicorn,
)
from poolhog.probes.patching import Patches
from poolhog.recording.libraries import Libraries

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolhog.probes.probe import Probe, Watch
    from poolhog.recording.recorder import Recorder

PROBES: tuple[Probe, ...] = (
    sqlalchemy.PROBE,
    asyncpg.PROBE,
    psycopg.PROBE,
    psycopg_pool.PROBE,
    threads.PROBE,
    starlette.PROBE,
    fastapi.PROBE,
    litestar.PROBE,
    uvicorn.PROBE,
    celery.PROBE,
    pytest.PROBE,
    clients.PROBE,
    unrecorded.PROBE,
)
"""All probes. Who imports the library of one is recorded by it; the order is that of attaching."""


def attach(recorder: Recorder) -> Patches:
    """Let every probe report to the recorder; restoring what is returned ends it.

    A library whose insides are not what a probe expects is not recorded: that is counted and
    told, and the application goes on.
    """
    patches = Patches()
    for probe in PROBES:
        for module, watch in probe.watches:
            patches.when_imported(module, _guarded(watch, recorder, patches))
    return patches


def libraries() -> Libraries:
    """What all probes together know of libraries."""
    databases = frozenset(package for probe in PROBES for package in probe.databases)
    further = frozenset(package for probe in PROBES for package in probe.infrastructure)
    return Libraries(
        infrastructure=databases | further,
        databases=databases,
        roots=frozenset(root.replace("/", os.sep) for probe in PROBES for root in probe.roots),
        relays=frozenset(relay for probe in PROBES for relay in probe.relays),
        groups={place: name for probe in PROBES for place, name in probe.groups.items()},
        distributions=tuple(name for probe in PROBES for name in probe.distributions),
    )


def watched_packages() -> list[str]:
    """The packages whose import makes it worth while to load poolhog, in alphabetical order."""
    modules = [module for probe in PROBES for module, _ in probe.watches]
    # Whoever loads no more than the standard library has no pool; and poolhog loads that itself.
    return sorted({module.partition(".")[0] for module in modules} - sys.stdlib_module_names)


def _guarded(watch: Watch, recorder: Recorder, patches: Patches) -> Callable[[], None]:
    def act() -> None:
        try:
            watch(recorder, patches)
        except Exception:  # the application must start all the same
            recorder.failed()

    return act
