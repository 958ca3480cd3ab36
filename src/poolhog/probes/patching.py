"""Patches of other people's code, remembered so that all of them can be taken back."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

from poolhog.probes.wrapping import mark_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Patches:
    """What was changed, and how to change it back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def wrap(
        self, target: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        """Replace ``target.name`` by ``wrap(original)``, which looks like the original.

        A library's version that has no such name is left alone.
        """
        found = inspect.getattr_static(target, name, None)
        if isinstance(found, classmethod | staticmethod):
            self.replace(target, name, type(found)(_like(found.__func__, wrap)))
        elif hasattr(target, name):
            self.replace(target, name, _like(getattr(target, name), wrap))

    def replace(self, target: Any, name: str, attribute: Any) -> None:
        """Set ``target.name``, which it may have inherited, or not have had at all."""
        own = vars(target).get(name)
        setattr(target, name, attribute)
        if own is None:
            self.on_restore(lambda: delattr(target, name))
        else:
            self.on_restore(lambda: setattr(target, name, own))

    def on_restore(self, undo: Callable[[], None]) -> None:
        """Remember how to take a change back."""
        self._undo.append(undo)

    def when_imported(self, module: str, act: Callable[[], None]) -> None:
        """Call ``act`` now if the module is loaded, or else as soon as it is.

        The packages that it is in are as well then.
        """
        names = _with_packages(module)
        if module in sys.modules and not any(map(_is_initializing, names)):
            act()
            return
        finder = _ImportHook(module, act)
        sys.meta_path.insert(0, finder)
        self.on_restore(finder.forget)

    def put_hooks_first(self) -> None:
        """Have the hooks of ``when_imported`` asked before those that others installed later."""
        ours = [finder for finder in sys.meta_path if isinstance(finder, _ImportHook)]
        for finder in reversed(ours):
            finder.remove()
            sys.meta_path.insert(0, finder)

    def restore(self) -> None:
        """Take every change back, the last first."""
        while self._undo:
            self._undo.pop()()


class _ImportHook(MetaPathFinder):
    """Lets a module be found as usual, and acts once it and the packages that it is in are there.

    A package may import the module while it is imported itself, and lack what comes after it.
    """

    def __init__(self, module: str, act: Callable[[], None]) -> None:
        self._module = module
        self._act = act
        self._searching = False
        self._followed: set[str] = set()
        self._names = _with_packages(module)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in self._names or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader, fullname)
        return spec

    def _follow(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # Some loaders load many modules.
            if module.__name__ != name:
                execute(module)
                return
            loader.exec_module = execute
            self._followed.add(name)
            try:
                execute(module)
            finally:
                self._followed.discard(name)
            self._executed()

        loader.exec_module = exec_module

    def _executed(self) -> None:
        """The module was executed, or a package that it is in: if none goes on, it is time."""
        if self._module in sys.modules and not self._followed and self._act is not _nothing:
            act, self._act = self._act, _nothing
            self.remove()
            act()

    def forget(self) -> None:
        """Do nothing any more, also if the module is being executed."""
        self._act = _nothing
        self.remove()

    def remove(self) -> None:
        """Stop looking out for the module."""
        # A new list: who walks the old one in another thread must not miss a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]


def _like(
    original: Callable[..., Any], wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    wrapper = functools.wraps(original)(wrap(original))
    if inspect.iscoroutinefunction(original):
        mark_coroutine(wrapper)
    return wrapper


def _nothing() -> None:
    """What is done a second time."""


def _with_packages(module: str) -> tuple[str, ...]:
    """The names of the packages that a module is in, from the outermost on, and its own."""
    parts = module.split(".")
    return tuple(".".join(parts[:number]) for number in range(1, len(parts) + 1))


def _is_initializing(name: str) -> bool:
    module = sys.modules.get(name)
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
