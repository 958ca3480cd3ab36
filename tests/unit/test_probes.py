"""What probes declare, and that a new one is one module and one line in a list."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
import textwrap
import threading
import time
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorders import eventually

import poolhog
from poolhog import probes
from poolhog.model import Activity, Outcome
from poolhog.probes.pools import PoolHooks
from poolhog.probes.probe import Probe
from poolhog.probes.waits import Waits
from poolhog.recording.pools import PoolRecord
from poolhog.recording.sites import Rank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolhog.probes.patching import Patches
    from poolhog.recording.recorder import Recorder

SOURCES = Path(poolhog.__file__).parent

# The toy: a library, and all that has to be written to have it recorded.

LIBRARY = textwrap.dedent("""
    import socket, time


    class NoneFreeError(Exception):
        pass


    class Connection:
        pass


    class Pool:
        def __init__(self, size):
            self.size = size
            self.free = [Connection() for _ in range(size)]
            self.server, self.client = socket.socketpair()
            self.is_slow = False

        def acquire(self):
            if not self.free:
                raise NoneFreeError
            return self.free.pop()

        def release(self, connection):
            if self.is_slow:
                self.client.recv(1)
            self.free.append(connection)


    def with_connection(pool, work):
        connection = pool.acquire()
        try:
            return work(connection)
        finally:
            pool.release(connection)
""")


def describe(pool: Any) -> PoolRecord:
    return PoolRecord(
        library="toypool",
        kind=type(pool).__name__,
        name="toys",
        size=pool.size,
        max_overflow=0,
        timeout_s=0.0,
        dialect=None,
    )


def ending(hooks: PoolHooks, release: Any) -> Any:
    def pool_release(pool: Any, connection: Any) -> None:
        release(pool, connection)
        hooks.end(pool, connection)

    return pool_release


def watch(recorder: Recorder, patches: Patches) -> None:
    import toypool  # type: ignore[import-not-found] # made by the test

    hooks = PoolHooks(recorder, describe)
    waits = Waits(recorder, hooks.ask, hooks.grant, toypool.NoneFreeError)
    patches.wrap(toypool.Pool, "acquire", waits.wrap)
    patches.wrap(toypool.Pool, "release", partial(ending, hooks))


TOY = Probe(watches=(("toypool", watch),), databases=("toypool",))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy, installed, and its line in the list."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    file = folder / "toypool.py"
    file.write_text(LIBRARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(probes, "PROBES", (*probes.PROBES, TOY))
    yield file
    poolhog.uninstall()
    sys.modules.pop("toypool", None)


def use(pool: Any) -> None:
    import toypool

    toypool.with_connection(pool, lambda _: time.sleep(0.001))


def test_a_new_probe_records_checkouts(library: Path, tmp_path: Path) -> None:
    poolhog.install(tmp_path / "trace")
    import toypool

    pool = toypool.Pool(1)
    use(pool)
    lent = pool.acquire()
    with pytest.raises(toypool.NoneFreeError) as raised:
        pool.acquire()
    pool.release(lent)
    poolhog.uninstall()
    trace = poolhog.open_trace(tmp_path / "trace")
    (described,) = trace.pools
    assert (described.library, described.kind, described.name) == ("toypool", "Pool", "toys")
    assert (described.size, described.max_overflow, described.timeout) == (1, 0, 0.0)
    found = [(checkout.outcome, checkout.connection) for checkout in trace.checkouts]
    assert found == [(Outcome.RETURNED, 1), (Outcome.RETURNED, 1), (Outcome.TIMEOUT, None)]
    assert raised.value.__notes__[0].startswith("poolhog: 1 of 1 connections")


def test_a_new_probe_says_that_its_library_is_no_application(library: Path, tmp_path: Path) -> None:
    poolhog.install(tmp_path / "trace")
    import toypool

    assert poolhog._installation is not None
    recorder = poolhog._installation.recorder
    assert recorder.sites.rank(str(library)) is Rank.INFRASTRUCTURE
    assert recorder.sites.rank(str(library.with_name("other.py"))) is Rank.LIBRARY
    use(toypool.Pool(1))
    poolhog.uninstall()
    (checkout,) = poolhog.open_trace(tmp_path / "trace").checkouts
    site = checkout.site
    assert site is not None
    # Called by the library's own function, which stands in no stack.
    assert (site.file, site.function) == (__file__, "use")


def test_a_new_probe_says_that_its_library_waits_for_a_database(
    library: Path, tmp_path: Path
) -> None:
    poolhog.install(tmp_path / "trace")
    import toypool

    assert poolhog._installation is not None
    journal = poolhog._installation.recorder.journal
    pool = toypool.Pool(1)
    pool.is_slow = True
    owner = threading.Thread(target=use, args=[pool])
    owner.start()
    eventually(lambda: any(c.sample is not None for c in journal.open.copy().values()))
    time.sleep(0.1)
    pool.server.send(b"!")
    owner.join()
    pool.server.close()
    pool.client.close()
    poolhog.uninstall()
    (checkout,) = poolhog.open_trace(tmp_path / "trace").checkouts
    longest = max(checkout.samples, key=lambda sample: (sample.ended or 0) - sample.started)
    assert longest.activity is Activity.BUSY


def test_a_process_of_a_run_wakes_up_for_a_new_probe(library: Path) -> None:
    assert "toypool" in probes.watched_packages()


def fail(_: Recorder, __: Patches) -> None:
    raise RuntimeError("its insides are not what was expected")


def test_a_probe_that_fails_is_counted(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBES", (Probe(watches=(("toypool", fail),)),))
    poolhog.install(tmp_path / "trace")
    import toypool

    assert poolhog._installation is not None
    assert poolhog._installation.recorder.journal.errors == 1
    use(toypool.Pool(1))


# The list.


def modules() -> dict[str, Any]:
    """The modules of ``poolhog.probes``, a package with its own ``__init__`` alone."""
    return {
        found.name: importlib.import_module(f"poolhog.probes.{found.name}")
        for found in pkgutil.iter_modules([str(SOURCES / "probes")])
    }


def test_every_probe_is_in_the_list() -> None:
    declared = {name for name, module in modules().items() if hasattr(module, "PROBE")}
    listed = [module.PROBE for name, module in modules().items() if name in declared]
    assert {id(probe) for probe in listed} == {id(probe) for probe in probes.PROBES}
    assert len(probes.PROBES) == len(listed)
    assert {"sqlalchemy", "asyncpg", "psycopg", "psycopg_pool", "starlette"} <= declared


def test_no_package_is_declared_twice() -> None:
    for field in ("databases", "infrastructure", "distributions", "roots", "relays"):
        names = [name for probe in probes.PROBES for name in getattr(probe, field)]
        assert len(names) == len(set(names)), field
    known = probes.libraries()
    further = {name for probe in probes.PROBES for name in probe.infrastructure}
    assert not known.databases & further
    assert known.infrastructure == known.databases | further


def test_what_a_probe_watches_is_never_the_application() -> None:
    known = probes.libraries()
    assert set(probes.watched_packages()) <= known.infrastructure


@cache
def texts_of(file: Path) -> frozenset[str]:
    """The texts in a module's code, docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return frozenset(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    )


@pytest.mark.parametrize("package", sorted(probes.libraries().infrastructure))
def test_no_other_file_of_the_recorder_imports_or_compares_with_a_library(package: str) -> None:
    """Docstrings and comments may speak of one; so may what is known of programs' arguments."""
    files = [*SOURCES.glob("*.py"), *(SOURCES / "recording").rglob("*.py")]
    allowed = {"programs.py", "arguments.py"}
    for file in files:
        # The latter is a dialect of SQL as well.
        known = {("sites.py", "greenlet"), ("sql.py", "mysql")}
        if file.name not in allowed and (file.name, package) not in known:
            assert package not in texts_of(file), f"{file} names {package}"
