"""The uvicorn probe: the requests of applications of any framework, by their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolhog.probes.asgi import watch_application
from poolhog.probes.probe import Probe

if TYPE_CHECKING:
    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder


def watch_requests(recorder: Recorder, patches: Patches) -> None:
    """Record every HTTP request and websocket that uvicorn gets.

    It calls applications through this middleware, unless it is started with
    ``--no-proxy-headers``.
    """
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    watch_application(recorder, patches, ProxyHeadersMiddleware)


PROBE = Probe(
    watches=(("uvicorn.middleware.proxy_headers", watch_requests),),
    infrastructure=(
        *("asgiref", "click", "gunicorn", "h11", "httptools", "uvicorn", "uvicorn_worker"),
        "uvloop",
    ),
    distributions=("uvicorn", "gunicorn"),
)
