"""Attaches poolhog to a Python process, which imports this module when it starts.

That is every Python process of the command, in whatever version and environment it has its own.
So this needs the standard library only, and no newer syntax than Python 3.6 has. It loads next to
nothing: poolhog itself comes when the process imports a library that poolhog watches, from where
it is installed, which need not be on the process's path. Then the ``sitecustomize`` is imported
that the process would have had without poolhog.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder

TYPE_CHECKING = False  # that of typing would cost every process the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

TRACE = "POOLHOG_TRACE"
"""The variable that holds the trace directory; without it nothing is recorded."""
OPTIONS = "POOLHOG_OPTIONS"
"""The variable that holds the further arguments of ``poolhog.install()``, in JSON."""
LIBRARIES = "POOLHOG_LIBRARIES"
"""The variable that holds the names of the packages that poolhog watches, with commas."""

OLDEST_PYTHON = (3, 11)

_HERE = os.path.dirname(__file__)  # noqa: PTH120 - pathlib would cost every process its import
_ROOT = os.path.abspath(os.path.join(_HERE, *[os.pardir] * 4))  # noqa: PTH100, PTH118
"""Where poolhog is installed."""


class PoolhogGate:
    """A finder that lets every module be found as usual, and poolhog where it is installed.

    The first library that poolhog watches, or poolhog itself, opens it: the process is recorded
    from then on. It stays where it is, since a finder that leaves the list while another thread
    walks it makes that thread skip the next one.
    """

    def __init__(self, directory: str, libraries: "Iterable[str]") -> None:
        self._directory = directory
        self._libraries = frozenset(libraries)
        self._opening = False
        self._is_open = False

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """The module's spec; executing it opens the gate, looking whether there is one does not."""
        if name == "poolhog" and not _is_old():
            spec = PathFinder.find_spec(name, [_ROOT])
            return spec if self._opening else _executed_by(self._execute_poolhog, spec)
        if name in self._libraries and not self._is_open:
            behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
            return _executed_by(self._execute_library, _find(name, behind))
        return None

    def open(self) -> None:
        """Load poolhog, and let it record this process.

        Another thread that comes here meanwhile waits, because it imports poolhog as well.
        """
        if self._is_open:
            return
        if _is_old():
            self._is_open = True
            _tell(f"not recording {_process()}: it needs Python {_text(OLDEST_PYTHON)} or newer")
            return
        try:
            # No statement, which the import law would read as one of poolhog's own: as any
            # application, this module is outside of poolhog, and uses it.
            self._install(import_module("poolhog"))
        except Exception as error:
            self._is_open = True
            _tell_failure(error)

    def _execute_poolhog(self, module: "ModuleType", loader: "Any") -> None:
        loader.exec_module(module)
        self._install(module)

    def _execute_library(self, module: "ModuleType", loader: "Any") -> None:
        # Not when the spec is looked for: that holds the lock of all imports, and importing
        # something meanwhile can wait for a thread that waits for this lock.
        name = module.__name__
        # A probe waits for libraries that are not loaded, and this one is not, really.
        del sys.modules[name]
        try:
            self.open()
            spec = _find(name, sys.meta_path)
            hooked = getattr(spec, "loader", None) or loader
        except Exception as error:
            hooked = loader
            _tell_failure(error)
        finally:
            sys.modules[name] = module
        hooked.exec_module(module)

    def _install(self, poolhog: "Any") -> None:
        if self._opening:
            return
        self._opening = True
        try:
            poolhog.install(self._directory, **_options())
        except Exception as error:
            _tell_failure(error)
        self._is_open = True


def _is_old() -> bool:
    return sys.version_info < OLDEST_PYTHON


def _executed_by(
    execute: "Callable[[ModuleType, Any], None]", spec: "ModuleSpec | None"
) -> "ModuleSpec | None":
    """The spec, whose loader lets ``execute`` do its work once."""
    loader: Any = getattr(spec, "loader", None)
    if hasattr(loader, "exec_module"):
        original = loader.exec_module

        def exec_module(module: "ModuleType") -> None:
            loader.exec_module = original
            execute(module, loader)

        loader.exec_module = exec_module
    return spec


def _find(name: str, finders: "Iterable[Any]") -> "ModuleSpec | None":
    """What an import of a top-level module would find with these finders."""
    for finder in list(finders):
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, None) if find_spec else None
        if spec is not None:
            return spec
    return None


def _options() -> "dict[str, Any]":
    text = os.environ.get(OPTIONS)
    if not text:
        return {}
    import json

    options: dict[str, Any] = json.loads(text)
    return options


def attach() -> None:
    """Have this process recorded, if it is a part of a run, as soon as there may be a pool."""
    directory = os.environ.get(TRACE)
    if not directory:
        return
    # This runs twice where a poolhog runs another, or a program imports sitecustomize itself.
    if any(type(finder).__name__ == PoolhogGate.__name__ for finder in sys.meta_path):
        return
    libraries = [name for name in os.environ.get(LIBRARIES, "").split(",") if name]
    gate = PoolhogGate(directory, libraries)
    sys.meta_path.insert(0, gate)
    # A .pth file may have been faster.
    if not libraries or not sys.modules.keys().isdisjoint(["poolhog", *libraries]):
        gate.open()


def import_next() -> None:
    """Import the ``sitecustomize`` of this process's own, in place of this one.

    Whatever that raises is raised, and if there is none, ``ModuleNotFoundError``: the process
    is to see what it would have seen without poolhog.
    """
    position = sys.path.index(_HERE)
    del sys.path[position]
    del sys.modules["sitecustomize"]
    try:
        import_module("sitecustomize")
    finally:
        # Programs give the path on to their children, which are to be recorded as well.
        sys.path.insert(position, _HERE)


def _tell_failure(error: Exception) -> None:
    _tell(f"not recording {_process()}: {type(error).__name__}: {error}")


def _process() -> str:
    return f"process {os.getpid()}, Python {_text(sys.version_info[:2])}"


def _text(version: "Sequence[int]") -> str:
    return ".".join(map(str, version))


def _tell(line: str) -> None:
    try:  # noqa: SIM105 - contextlib would cost every process its import
        sys.stderr.write(f"poolhog: {_visible(' '.join(line.split()))}\n")
    except Exception:  # noqa: S110 - a process may have closed it, or have none
        pass


def _visible(line: str) -> str:
    """What an error quotes moves no cursor; poolhog's own means may be what is missing."""
    return "".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in line)


if __name__ == "sitecustomize":
    try:
        attach()
    except Exception as error:
        _tell_failure(error)
    import_next()
