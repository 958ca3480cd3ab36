"""What a probe declares: what it watches, and what a recording has to know of its library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

    Watch = Callable[[Recorder, Patches], None]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A probe: one module, or one package, that watches one library.

    ``watches`` are functions that patch the library, each with the module whose import makes it
    useful; they run in this order, once the module is there. ``databases`` are packages that wait
    for nothing but a database or one of its connections, ``infrastructure`` further packages that
    are never the application. ``distributions`` are those whose versions a trace tells. ``roots``,
    ``relays`` and ``groups`` are rare: :class:`poolhog.recording.libraries.Libraries` says what
    they are; a root is written with slashes.
    """

    watches: tuple[tuple[str, Watch], ...] = ()
    databases: tuple[str, ...] = ()
    infrastructure: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    groups: Mapping[tuple[str, str], str] = field(default_factory=dict)
