"""How connections read that are kept on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolhog.analysis.kept import Purpose
from poolhog.render.words import count, place, seconds, site_json

if TYPE_CHECKING:
    from poolhog.analysis.kept import KeptConnections

_WORDS = {
    Purpose.LISTEN: "for LISTEN",
    Purpose.REPLICATION: "for replication",
    Purpose.LOCK: "for an advisory lock",
    Purpose.SERVICE: "by the service, from its start to its end",
}


def kept_told(kept: KeptConnections) -> str:
    """A sentence about the connections that one line keeps."""
    verb = "is" if kept.connections == 1 else "are"
    return (
        f"{count(kept.connections, 'connection')} {verb} kept on purpose, {_WORDS[kept.purpose]} "
        f"({place(kept.site)}, {seconds(kept.seconds)}): no hog, but the pool has fewer for all "
        "others. A connection outside of the pool costs nobody else."
    )


def kept_json(kept: KeptConnections) -> dict[str, Any]:
    """What is kept, as documented in ``docs/report.md``."""
    return {
        "purpose": kept.purpose.name.lower(),
        "site": site_json(kept.site),
        "connections": kept.connections,
        "seconds": kept.seconds,
    }
