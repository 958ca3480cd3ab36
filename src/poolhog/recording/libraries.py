"""What the recorder knows of libraries, and whose code a file is.

Nothing here names a library: the probes declare what they know, each of its own.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - compared with files
_POOLHOG = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
OURS = tuple(_POOLHOG + part for part in ("probes", "recording", "__init__"))
"""What the names of poolhog's own files begin with that run in an application."""

_SITE_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@dataclass(frozen=True, kw_only=True)
class Libraries:
    """Facts about libraries that decide what a stack means.

    ``infrastructure`` are packages that are never the application, also if all of it is installed
    in site-packages; ``databases`` those of them that wait for nothing but a database or one of its
    connections. ``roots`` are files inside site-packages that call endpoints: they end a stack.
    ``relays`` are functions of databases' packages that await whatever the application wants.
    ``groups`` has the functions that wait for tasks, of which there may be more meanwhile, as
    package and qualified name, and the variable that has the tasks. ``distributions`` are those
    whose version a trace tells.
    """

    infrastructure: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()
    roots: frozenset[str] = frozenset()
    relays: frozenset[str] = frozenset()
    groups: Mapping[tuple[str, str], str] = field(default_factory=dict)
    distributions: tuple[str, ...] = ()


def inside_packages(file: str) -> str | None:
    """The file's name inside of site-packages; ``None`` if it is not installed there."""
    for mark in _SITE_PACKAGES:
        if mark in file:
            return file.rpartition(mark)[2]
    return None


def top_package(inside: str) -> str:
    """The package, or module, of a file inside of site-packages."""
    return inside.partition(os.sep)[0].removesuffix(".py")


@functools.lru_cache(maxsize=10_000)
def package_of(file: str) -> str | None:
    """The package of a file, "" for the application's own.

    ``None`` for the standard library, what has no file, and poolhog's own.
    """
    inside = inside_packages(file)
    if inside is not None:
        return top_package(inside)
    return None if file.startswith((STANDARD_LIBRARY, "<", *OURS)) else ""
