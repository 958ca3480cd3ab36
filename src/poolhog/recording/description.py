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
    from collections.abc import Iterable

    from poolhog.recording.journal import Journal


def description(journal: Journal) -> dict[str, str]:
    """What never changes about this process."""
    return {
        "schema_version": str(SCHEMA_VERSION),
        "poolhog_version": _own_version(),
        "pid": str(os.getpid()),
        "parent_pid": str(os.getppid()),
        # An interpreter inside of another program has none.
        "argv": json.dumps([sys.executable, *kept_arguments(getattr(sys, "argv", ()))]),
        "wall_ns": str(journal.began_wall_ns),
        "monotonic_ns": str(journal.began_ns),
        "sampling_interval_s": str(journal.options.sampling_interval_s),
        "versions": json.dumps(_versions(journal.libraries.distributions)),
    }


def progress(journal: Journal) -> dict[str, str]:
    """What changes with every commit."""
    return {
        "written_ns": str(time.monotonic_ns()),
        "dropped": str(journal.dropped),
        "dropped_checkouts": str(journal.dropped_checkouts),
        "errors": str(journal.errors),
        **({"lock_watch": journal.lock_watch} if journal.lock_watch else {}),
        "unrecorded": json.dumps(journal.unrecorded),
    }


def _versions(distributions: Iterable[str]) -> dict[str, str]:
    """The versions of Python, and of those of the distributions that are loaded."""
    found = {"python": sys.version.split()[0]}
    for name in distributions:
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
