"""What engines are called: by their driver, and what tells them from others of the same driver.

That is the database, or, where several engines have one, the variable that the application keeps
the engine in. An engine that is the only one of its driver, or of many that are alike, such as one
for each request, is known by the driver alone.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from poolhog.recording.sites import Rank

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from poolhog.recording.recorder import Recorder

MOST_SEARCHES = 20
"""Engines whose variable is looked for: an application that makes one for each request has none."""

_ENGINES = frozenset(["Engine", "AsyncEngine"])


class EngineNames:
    """The names of the engines of one process, by their dialects: each engine has its own."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._databases: weakref.WeakKeyDictionary[Any, tuple[str, str]] = (
            weakref.WeakKeyDictionary()
        )
        self._names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        # All databases of a driver that were ever seen, with their hosts.
        self._of_driver: dict[str, set[tuple[str, str]]] = {}
        self._by_variable: dict[tuple[str, tuple[str, str] | None], bool] = {}
        self._searches = 0

    def learn(self, _: Any, __: Any, dialect: Any, url: Any, *___: Any, **____: Any) -> None:
        """An engine is made."""
        database = _database(url)
        self._databases[dialect] = database
        self._of_driver.setdefault(driver_of(dialect), set()).add(database)

    def name(self, pool: Any) -> str:
        """The name of a pool's engine; a pool that is made in its place has it as well."""
        dialect = pool._dialect
        try:
            known = self._names.get(dialect)
            if known is None:
                known = self._names[dialect] = self._name(dialect)
        except TypeError:  # a dialect of a kind that cannot be remembered
            return driver_of(dialect)
        return known

    def _name(self, dialect: Any) -> str:
        driver = driver_of(dialect)
        own = self._databases.get(dialect)
        every = self._of_driver.get(driver, set())
        parts = [driver]
        if own is not None and len(every) > 1:
            host, database = own
            is_same = sum(name == database for _, name in every) > 1
            parts += [part for part in ((host if is_same else ""), database) if part]
        if self._has_variables(driver, own):
            variable = self._variable(dialect)
            parts += [variable] if variable is not None else []
        return " ".join(parts)

    def _has_variables(self, driver: str, own: tuple[str, str] | None) -> bool:
        """Whether there were several engines of one database when the first of them was used.

        Those that come later are made over and over, and are all alike.
        """
        found = self._by_variable.get((driver, own))
        if found is None:
            every = list(self._databases.items())
            alike = sum(database == own and driver_of(d) == driver for d, database in every)
            found = self._by_variable[driver, own] = alike > 1
        return found

    def _variable(self, dialect: Any) -> str | None:
        """The variable of a module of the application that has the engine."""
        self._searches += 1
        if self._searches > MOST_SEARCHES:
            return None
        for module in self._modules():
            for name, value in list(vars(module).items()):
                if type(value).__name__ in _ENGINES and value.dialect is dialect:
                    return name
        return None

    def _modules(self) -> Iterator[ModuleType]:
        rank = self._recorder.sites.rank
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and rank(file) is Rank.APPLICATION:
                yield module


def driver_of(dialect: Any) -> str:
    """The dialect and the driver, as in a URL."""
    name = getattr(dialect, "name", None) or "unknown"
    return f"{name}+{getattr(dialect, 'driver', 'unknown')}"


def _database(url: Any) -> tuple[str, str]:
    """The host and the name of a URL's database; of a file its name without folders."""
    host = url.host or str(url.query.get("host", ""))
    database = str(url.database or "")
    return host.rpartition("/")[2], database.replace("\\", "/").rpartition("/")[2]
