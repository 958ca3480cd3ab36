"""Patches come back off, and hooks fire on import, once."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, create_autospec

import pytest

from poolhog.probes.patching import Patches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODULE = "poolhog_test_module"


class Base:
    def inherited(self) -> str:
        return "base"


class Thing(Base):
    def method(self) -> str:
        """The docstring."""
        return "thing"

    @classmethod
    def create(cls) -> str:
        return cls.__name__


def loudly(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> str:
        return str(original(*args)) + "!"

    return wrapper


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / f"{MODULE}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield MODULE
    sys.modules.pop(MODULE, None)


def test_a_patch_looks_like_the_original_and_comes_off() -> None:
    before = dict(vars(Thing))
    patches = Patches()
    patches.wrap(Thing, "method", loudly)
    patches.wrap(Thing, "inherited", loudly)
    assert (Thing().method(), Thing().inherited()) == ("thing!", "base!")
    assert Thing.method.__doc__ == "The docstring."
    patches.restore()
    assert dict(vars(Thing)) == before
    assert Thing().inherited() == "base"


def test_patches_of_one_name_come_off_in_reverse() -> None:
    before = vars(Thing)["method"]
    patches = Patches()
    patches.wrap(Thing, "method", loudly)
    patches.wrap(Thing, "method", loudly)
    assert Thing().method() == "thing!!"
    patches.restore()
    assert vars(Thing)["method"] is before
    patches.restore()
    assert vars(Thing)["method"] is before


def test_a_name_that_a_version_does_not_have_is_left_alone() -> None:
    patches = Patches()
    patches.wrap(Thing, "no_such_method", loudly)
    assert not hasattr(Thing, "no_such_method")
    patches.restore()


def test_a_loaded_module_is_acted_on_at_once() -> None:
    found: list[str] = []
    before = list(sys.meta_path)
    Patches().when_imported("json", lambda: found.append("json"))
    assert found == ["json"]
    assert sys.meta_path == before


def test_a_module_is_acted_on_when_it_was_executed_and_only_once(module: str) -> None:
    values: list[int] = []
    before = list(sys.meta_path)
    patches = Patches()
    patches.when_imported(module, lambda: values.append(sys.modules[module].value))
    assert values == []
    loaded = importlib.import_module(module)
    assert values == [1]
    assert sys.meta_path == before
    importlib.reload(loaded)
    assert values == [1]
    assert not hasattr(loaded.__loader__, "__wrapped__")


def test_two_hooks_on_one_module_both_act(module: str) -> None:
    found: list[str] = []
    patches = Patches()
    patches.when_imported(module, lambda: found.append("first"))
    patches.when_imported(module, lambda: found.append("second"))
    importlib.import_module(module)
    assert sorted(found) == ["first", "second"]


def test_restoring_ends_the_lookout(module: str) -> None:
    found: list[str] = []
    before = list(sys.meta_path)
    patches = Patches()
    patches.when_imported(module, lambda: found.append("imported"))
    assert sys.meta_path != before
    patches.restore()
    assert sys.meta_path == before
    importlib.import_module(module)
    assert found == []


def test_a_module_that_does_not_exist_is_still_not_found() -> None:
    patches = Patches()
    patches.when_imported("poolhog_no_such_module", lambda: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("poolhog_no_such_module")
    patches.restore()


def test_a_module_that_fails_is_not_acted_on(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise RuntimeError('broken')\n")
    found: list[str] = []
    patches = Patches()
    patches.when_imported(module, lambda: found.append("imported"))
    with pytest.raises(RuntimeError, match="broken"):
        importlib.import_module(module)
    assert found == []
    patches.restore()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that imports a module of its own before it has all that it will have."""
    folder = tmp_path / MODULE
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text(
        f"import sys\nfrom {MODULE}.inner import deep\nnow = []\nlater = 1\n"
    )
    (folder / "inner" / "__init__.py").write_text("from . import deep\nafter = 1\n")
    (folder / "inner" / "deep.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield MODULE
    for name in [name for name in sys.modules if name.partition(".")[0] == MODULE]:
        del sys.modules[name]


@pytest.mark.parametrize("first", ["", ".inner", ".inner.deep"])
def test_a_module_is_acted_on_when_its_packages_are_there(package: str, first: str) -> None:
    found: list[Any] = []
    before = list(sys.meta_path)
    patches = Patches()

    def act() -> None:
        outer = importlib.import_module(package)
        found.append((outer.later, outer.inner.after, outer.inner.deep.value))

    patches.when_imported(f"{package}.inner.deep", act)
    importlib.import_module(package + first)
    assert found == [(1, 1, 1)]
    assert sys.meta_path == before


def test_a_package_that_fails_is_acted_on_when_it_comes_at_last(
    package: str, tmp_path: Path
) -> None:
    found: list[str] = []
    patches = Patches()
    patches.when_imported(f"{package}.inner.deep", lambda: found.append("there"))
    init = tmp_path / MODULE / "__init__.py"
    text = init.read_text()
    init.write_text(text + "raise RuntimeError('broken')\n")
    with pytest.raises(RuntimeError, match="broken"):
        importlib.import_module(package)
    assert found == []
    init.write_text(text + "# It was mended.\n")
    importlib.invalidate_caches()
    importlib.import_module(package)
    assert found == ["there"]
    patches.restore()


def test_what_is_restored_meanwhile_is_not_acted_on(package: str, tmp_path: Path) -> None:
    found: list[str] = []
    patches = Patches()
    patches.when_imported(f"{package}.inner.deep", lambda: found.append("there"))
    sys.modules["poolhog_test_restore"] = patches  # type: ignore[assignment] # for the package
    init = tmp_path / MODULE / "__init__.py"
    init.write_text(init.read_text() + "sys.modules['poolhog_test_restore'].restore()\n")
    importlib.import_module(package)
    del sys.modules["poolhog_test_restore"]
    assert found == []


def test_what_returns_a_coroutine_is_still_told_from_what_does_not() -> None:
    class Connection:
        async def send(self) -> str:
            return "sent"

        def close(self) -> str:
            return "closed"

    def passing_on(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: original(*args)

    patches = Patches()
    patches.wrap(Connection, "send", passing_on)
    patches.wrap(Connection, "close", passing_on)
    mocked = create_autospec(Connection)
    assert isinstance(mocked.send, AsyncMock)
    assert not isinstance(mocked.close, AsyncMock)
    patches.restore()
