"""Ctrl-C at a bad moment: it may have to wait, and it must not be lost."""

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

    asyncio itself cancels the task instead, and a task that fails at that moment forgets that it
    was cancelled. asyncio leaves handlers alone that are not Python's default one.
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
    """Defer Ctrl-C to the end of the block, which creates something that must not be lost."""
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
    """Treat SIGTERM and SIGHUP as Ctrl-C in this block, and lose none of them.

    Yields a function that raises ``KeyboardInterrupt`` again if a signal arrived: some libraries
    swallow the first one while they are imported.
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
