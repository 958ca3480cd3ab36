"""Ctrl-C at the wrong moment: it may have to wait, and it must not be lost."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, during which Ctrl-C always raises ``KeyboardInterrupt``.

    By itself asyncio cancels the task instead, and a task that fails just then forgets that it was
    cancelled. It leaves a handler alone that is not Python's default one.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _in_main_thread():
        return asyncio.run(work)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        return asyncio.run(work)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait until the block is done: something is made in it that must not be lost."""
    if not _in_main_thread():
        yield
        return
    arrived: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)
        if arrived:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def interrupts_remembered() -> Iterator[Callable[[], None]]:
    """Within it a request to end (SIGTERM, SIGHUP) is as good as Ctrl-C, and neither is lost.

    Yields a function that raises ``KeyboardInterrupt`` again if one came: whatever was going on may
    have swallowed the first, as some libraries do while they are imported.
    """
    arrived: list[int] = []

    def interrupt(number: int, _: object) -> NoReturn:
        arrived.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if arrived:
            raise KeyboardInterrupt

    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(ending, interrupt) for ending in endings]
    try:
        yield check
    finally:
        for ending, handler in zip(endings, before, strict=True):
            signal.signal(ending, handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
