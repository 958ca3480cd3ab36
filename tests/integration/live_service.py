"""A service with live pages: ``live_service.py DIRECTORY DATABASE_URL`` prints its port.

It is the one that hangs, with a page for clients on this machine, one for those with a token, and
one with the lines of code.
"""

import socket
import sys
import threading
from typing import Any

import uvicorn
from hanging_app import make_service

import poolhog
from poolhog.integrations.asgi import live

TOKEN = b"let me in"


async def has_token(scope: Any) -> bool:
    return (b"authorization", TOKEN) in scope["headers"]


def serve(directory: str, url: str) -> None:
    """Record and serve until the process is ended; "-" records nothing."""
    if directory != "-":
        poolhog.install(directory)
    app = make_service(url)
    app.mount("/poolhog", live(interval=1.0))
    app.mount("/token", live(authorised=has_token, interval=1.0))
    app.mount("/source", live(source=True, interval=1.0))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", loop="asyncio")
    threading.Timer(0, print, [listening.getsockname()[1]], {"flush": True}).start()
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
