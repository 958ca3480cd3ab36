"""Wrappers that look like the functions they wrap.

A wrapper has the parameters of its function, in its code as well: libraries and applications look
at these by ``inspect`` and without it. It runs among the globals of the function's module, by which
libraries tell their own frames from the application's. Its frame is in no traceback, and
``logging`` skips it. So there is one text for all wrappers, and a function is made of it for each
set of parameters, as ``namedtuple`` and ``dataclass`` do.
"""

from __future__ import annotations

import functools
import inspect
import keyword
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from poolhog.recording.unseen import hide, unseen_code

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[..., Any]
    Wrap = Callable[[Function], Function]


class Run(Protocol):
    """One run of a wrapped function.

    A wrapper that ``changes`` arguments calls the function with the ``args`` and ``kwargs`` of the
    run. One that ``gives`` results returns what the run's ``give`` makes of the function's.
    """

    def end(self, error: BaseException | None = None) -> None:
        """It is over, with an exception or without."""


_AROUND = """\
def make(ph_method, ph_begin, ph_failed, ph_fail, ph_Exception, ph_BaseException):
    {define} wrapper({{parameters}}):
        if False:
            lambda: (ph_run, ph_result)
        try:
            ph_run = ph_begin({{arguments}})
        except ph_Exception:
            ph_failed()
            ph_run = None
        try:
            ph_result = {call}
        except ph_BaseException:
            ph_fail(ph_run, ph_failed)
            raise
        if ph_run is not None:
            try:
                {over}
            except ph_Exception:
                ph_failed()
        return ph_result
    return wrapper
"""

"""What is not a parameter is in a cell, because of the lambda: the names of a code's variables are
those of its parameters and of its variables that are in none."""

_EITHER = """\
def make(ph_method, ph_other, ph_concerns):
    def wrapper({parameters}):
        return ph_other({arguments}) if ph_concerns({first}) else ph_method({arguments})
    return wrapper
"""


def around(
    failed: Callable[[], None],
    begin: Callable[..., Any],
    *,
    awaits: bool = False,
    yields: bool = False,
    changes: bool = False,
    gives: bool = False,
) -> Wrap:
    """Wraps functions in a run that ``begin`` begins, with their arguments, or does not.

    What ``begin`` or a run raises is counted by ``failed``: the application never sees it.
    ``begin`` gets the arguments by their places, but for those that have a name only. A coroutine
    function ``awaits``, or its run is over when it has made a coroutine; so does a generator's.
    """
    waits = "await " if awaits else "yield from " if yields else ""
    call = "ph_method({{arguments}})"
    if changes:
        call += " if ph_run is None else ph_method(*ph_run.args, **ph_run.kwargs)"
    text = _AROUND.format(
        define="async def" if awaits else "def",
        call=(f"{waits}({call})" if waits else call).format(),
        over="return ph_run.give(ph_result)" if gives else "ph_run.end()",
    )

    def wrap(method: Function) -> Function:
        return _made(text, method, method, begin, failed, _fail, Exception, BaseException)

    return wrap


def _fail(run: Run | None, failed: Callable[[], None]) -> None:
    """The wrapped function raised what is being handled by its wrapper."""
    error = sys.exception()
    if error is not None:
        hide(error)
    if run is not None:
        try:
            run.end(error)
        except Exception:  # the application gets its own
            failed()


def either(method: Function, other: Function, concerns: Callable[[Any], bool]) -> Function:
    """The function, or another like it if its first argument ``concerns`` somebody."""
    return _made(_EITHER, method, method, other, concerns)


def _made(text: str, method: Function, *meanings: Any) -> Function:
    """A function that the text makes, which looks like the method."""
    known = _known(method)
    made = _maker(text, *_signature(known))(*meanings)
    code = unseen_code(made.__code__)
    found: Any
    if known is None:
        found = made
        found.__code__ = code
    else:
        name = known.__code__.co_name
        code = code.replace(co_name=name, co_qualname=known.__code__.co_qualname)
        defaults = known.__defaults__
        found = FunctionType(code, known.__globals__, name, defaults, made.__closure__)
        found.__kwdefaults__ = known.__kwdefaults__
    functools.update_wrapper(found, method)
    if inspect.iscoroutinefunction(method):
        mark_coroutine(found)
    wrapper: Function = found
    return wrapper


def _known(method: Function) -> FunctionType | None:
    """The function, if its parameters can be written down; one of C, or an object, has none."""
    if not isinstance(method, FunctionType):
        return None
    code = method.__code__
    names = code.co_varnames[: _count(code)]
    return method if all(n.isidentifier() and not keyword.iskeyword(n) for n in names) else None


def _count(code: Any) -> int:
    stars = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return int(code.co_argcount + code.co_kwonlyargcount + stars)


def _signature(method: FunctionType | None) -> tuple[str, str, str]:
    """The parameters, as they are written and as they are passed on, and the first one."""
    if method is None:
        return "*args, **kwargs", "*args, **kwargs", "args[0]"
    code = method.__code__
    names = iter(code.co_varnames)
    positional = [next(names) for _ in range(code.co_argcount)]
    by_keyword = [next(names) for _ in range(code.co_kwonlyargcount)]
    # What is left out has a default, which is set when the function is made.
    optional = len(method.__defaults__ or ())
    first_optional = len(positional) - optional
    written = [f"{n}=None" if i >= first_optional else n for i, n in enumerate(positional)]
    if code.co_posonlyargcount:
        written.insert(code.co_posonlyargcount, "/")
    passed = list(positional)
    if code.co_flags & inspect.CO_VARARGS:
        rest = f"*{next(names)}"
        written.append(rest)
        passed.append(rest)
    elif by_keyword:
        written.append("*")
    defaults = method.__kwdefaults__ or {}
    written += [f"{name}=None" if name in defaults else name for name in by_keyword]
    passed += [f"{name}={name}" for name in by_keyword]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        others = f"**{next(names)}"
        written.append(others)
        passed.append(others)
    first = passed[0] if passed else "None"
    if first.startswith("*"):
        first = f"{first.lstrip('*')}[0]"
    return ", ".join(written), ", ".join(passed), first


@functools.lru_cache(maxsize=500)
def _maker(text: str, parameters: str, arguments: str, first: str) -> Function:
    source = text.format(parameters=parameters, arguments=arguments, first=first)
    found: dict[str, Any] = {}
    exec(source, found)  # noqa: S102 - names of parameters, which are identifiers
    made: Function = found["make"]
    return made


def mark_coroutine(function: Function) -> None:
    """Say of a function that returns a coroutine what ``async def`` says: others look for it."""
    if inspect.iscoroutinefunction(function):
        return
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    elif isinstance(function, FunctionType):
        # Whether a call makes a coroutine is said by the code's instructions, not by this.
        code = function.__code__
        function.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
