"""The parts that all styles share: lifespan, middleware and the answers to errors."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy.exc import NoResultFound
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from poolhog.lab.service.external import ExternalApiError
from poolhog.lab.service.notes import InvalidNoteId, NoteChanged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    _ExceptionHandler = Callable[[Request, Exception], Coroutine[None, None, Response]]


class RequestIdMiddleware:
    """Gives every response an ``x-request-id``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the header when its response starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def create_base(*resources: AbstractAsyncContextManager[object]) -> FastAPI:
    """An application without notes, which holds ``resources`` open while it runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource)
            yield

    app = FastAPI(
        title="notes",
        lifespan=lifespan,
        middleware=[Middleware(RequestIdMiddleware)],
        exception_handlers={
            InvalidNoteId: _answer(422),
            NoResultFound: _answer(404, "there is no such note"),
            NoteChanged: _answer(409),
            ExternalApiError: _answer(502),
            PoolTimeoutError: _answer(503, "no connection to the database became free in time"),
        },
    )

    @app.get("/healthz")
    async def get_health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _answer(status: int, detail: str | None = None) -> _ExceptionHandler:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": detail or str(error)}, status)

    return answer
