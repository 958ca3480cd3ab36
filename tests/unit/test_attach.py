"""Attaching: the command line, the environment, the gate that waits for a library, the block."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, assert_type

import pytest
import sqlalchemy as sa

import poolhog
from poolhog import OutputError, PoolhogError, TraceError
from poolhog.probes import watched_packages
from poolhog.probes.patching import Patches
from poolhog.recording.attach.bootstrap import sitecustomize
from poolhog.recording.attach.command import check_recordable
from poolhog.recording.attach.environment import BOOTSTRAP, environment
from poolhog.recording.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 10.0
"""Far more than anything here takes."""


@pytest.fixture(autouse=True)
def _uninstalled() -> Iterator[None]:
    yield
    poolhog.uninstall()


def query(directory: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{directory / 'data'}", poolclass=sa.pool.QueuePool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    engine.dispose()


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("python -I app.py", "-I"),
        ("python3.12 -uE -m app", "-E"),
        ("python3.13t -Sm app", "-S"),
        ("pypy3 -s -I -", "-I"),
        ("python -Ic print()", "-I"),
        ("python -W ignore -E app.py", "-E"),
        ("python -Wignore -X dev -Xutf8 -S app.py", "-S"),
        ("python --check-hash-based-pycs always -I app.py", "-I"),
        ("python", None),
        ("python app.py -I", None),
        ("python -c print() -I", None),
        ("python -cI", None),
        ("python -m app -E", None),
        ("python -um app -E", None),
        ("python - -I", None),
        ("python -- -I", None),
        ("python -W -I app.py", None),
        ("python -XI -uBsP app.py", None),
        ("pythonic -I", None),
        ("make -I include", None),
    ],
)
def test_options_that_keep_python_from_recording_itself_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, option: str | None
) -> None:
    command = line.split()
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / command[0]).touch(mode=0o755)
    if option is None:
        check_recordable(command)
    else:
        with pytest.raises(PoolhogError, match=f"^python {option} cannot be recorded"):
            check_recordable(command)


@pytest.mark.parametrize(
    ("shebang", "option"),
    [
        ("#!/usr/bin/python3 -Es", "-E"),
        ("#! /opt/venv/bin/python -I", "-I"),
        ("#!/usr/bin/env -S A=1 python3 -S", "-S"),
        ("#!/usr/bin/python3 -s", None),
        ("#!/usr/bin/env python3", None),
        ("#!/bin/sh -E", None),
        ("#!", None),
        ("", None),
    ],
)
def test_a_script_for_such_a_python_is_found(
    tmp_path: Path, shebang: str, option: str | None
) -> None:
    script = tmp_path / "script"
    script.write_text(f"{shebang}\n-I\n")
    script.chmod(0o755)
    if option is None:
        check_recordable([str(script), "-I"])
    else:
        with pytest.raises(PoolhogError, match=f"is a script for python {option}"):
            check_recordable([str(script), "-I"])


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        ({}, [BOOTSTRAP]),
        ({"PYTHONPATH": ""}, [BOOTSTRAP]),
        ({"PYTHONPATH": "/a:/b"}, [BOOTSTRAP, "/a", "/b"]),
        ({"PYTHONPATH": "/a:"}, [BOOTSTRAP, "/a", ""]),
        ({"PYTHONPATH": f"/a:{BOOTSTRAP}:/b"}, [BOOTSTRAP, "/a", "/b"]),
    ],
)
def test_the_path_begins_with_the_bootstrap_and_keeps_the_users(
    inherited: dict[str, str], expected: list[str]
) -> None:
    environ = environment(
        Path("/trace"), Options(), watched_packages(), {"HOME": "/home", **inherited}
    )
    assert environ.pop("PYTHONPATH").split(os.pathsep) == expected
    assert {"asyncpg", "sqlalchemy"} <= set(environ.pop(sitecustomize.LIBRARIES).split(","))
    assert environ == {"HOME": "/home", sitecustomize.TRACE: "/trace"}


def test_the_options_are_given_as_arguments_of_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(("a", "b"), ("c",), 0.5)
    text = environment(tmp_path, options, ())[sitecustomize.OPTIONS]
    monkeypatch.setenv(sitecustomize.OPTIONS, text)
    poolhog.install(tmp_path / "trace", **sitecustomize._options())
    assert poolhog._installation is not None
    assert poolhog._installation.recorder.journal.options == options


@pytest.mark.parametrize("interval", [-0.1, float("nan"), float("inf")])
def test_a_sampling_interval_is_a_time(interval: float) -> None:
    with pytest.raises(PoolhogError, match="the sampling interval is a time, or 0"):
        poolhog.install(sampling_interval=interval)


def forget_afterwards(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that was not imported before the test is not imported after it."""
    monkeypatch.setitem(sys.modules, module, sys)
    del sys.modules[module]


class Attached:
    """A gate in this process, in front of the libraries ``first_library`` and ``second_library``.

    ``installed`` is called in place of ``poolhog.install``.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.installed: Callable[[], None] = lambda: None
        libraries = ("first_library", "second_library", "absent_library")
        for name in libraries[:2]:
            (directory / f"{name}.py").write_text("value = 1\n")
            forget_afterwards(name, monkeypatch)
        monkeypatch.syspath_prepend(str(directory))
        monkeypatch.setattr(poolhog, "install", self._install)
        self.gate = sitecustomize.PoolhogGate("/trace", libraries)
        monkeypatch.setattr(sys, "meta_path", [self.gate, *sys.meta_path])

    def _install(self, directory: str) -> None:
        self.calls.append(directory)
        self.installed()


@pytest.fixture
def attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attached:
    return Attached(tmp_path, monkeypatch)


def test_the_gate_opens_when_a_library_is_executed_and_not_when_it_is_looked_for(
    attached: Attached,
) -> None:
    assert importlib.util.find_spec("absent_library") is None
    with pytest.raises(ModuleNotFoundError, match="absent_library"):
        importlib.import_module("absent_library")
    assert importlib.util.find_spec("first_library") is not None
    assert attached.calls == []

    module = importlib.import_module("first_library")
    assert attached.calls == ["/trace"]
    assert (module.value, module.__name__) == (1, "first_library")
    assert sys.modules["first_library"] is module
    importlib.import_module("second_library")
    assert attached.calls == ["/trace"]


def test_a_probe_finds_the_library_that_opened_the_gate_yet_to_be_loaded(
    attached: Attached,
) -> None:
    seen: list[int] = []
    patches = Patches()

    def wait_for_libraries() -> None:
        for name in ("first_library", "second_library"):
            patches.when_imported(name, lambda name=name: seen.append(sys.modules[name].value))  # type: ignore[misc]

    attached.installed = wait_for_libraries
    try:
        importlib.import_module("second_library")
        assert seen == [1]
        importlib.import_module("first_library")
        assert seen == [1, 1]
        assert importlib.reload(sys.modules["second_library"]).value == 1
    finally:
        patches.restore()
    assert attached.calls == ["/trace"]


def test_a_library_that_fails_fails_as_ever(attached: Attached, tmp_path: Path) -> None:
    (tmp_path / "first_library.py").write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            importlib.import_module("first_library")
        assert "first_library" not in sys.modules
    assert attached.calls == ["/trace"]


def test_what_fails_at_the_gate_is_told_once_and_the_library_is_loaded(
    attached: Attached, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("no\nroom")

    attached.installed = fail
    assert importlib.import_module("first_library").value == 1
    assert importlib.import_module("second_library").value == 1
    told = capsys.readouterr().err
    assert told.startswith(f"poolhog: not recording process {os.getpid()}, Python 3.")
    assert told.endswith(": RuntimeError: no room\n")
    assert told.count("\n") == 1


def test_an_old_python_is_told_once_and_left_alone(
    attached: Attached, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sitecustomize, "OLDEST_PYTHON", (99, 1))
    assert attached.gate.find_spec("poolhog") is None
    assert importlib.import_module("first_library").value == 1
    assert importlib.import_module("second_library").value == 1
    assert attached.calls == []
    told = capsys.readouterr().err
    assert told.endswith("it needs Python 99.1 or newer\n")
    assert told.count("\n") == 1


def test_poolhog_is_found_where_it_is_installed(attached: Attached) -> None:
    spec = attached.gate.find_spec("poolhog")
    assert spec is not None
    assert spec.origin == poolhog.__file__
    assert attached.gate.find_spec("poolhog.recording") is None


def in_threads(*work: Callable[[], object]) -> None:
    """Do all of it at once; the test fails if it does not end."""
    threads = [threading.Thread(target=do, daemon=True) for do in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "they wait for each other"


def test_two_threads_open_the_gate_once(attached: Attached) -> None:
    in_threads(
        lambda: importlib.import_module("first_library"),
        lambda: importlib.import_module("second_library"),
    )
    assert attached.calls == ["/trace"]


def test_opening_the_gate_does_not_block_the_imports_of_other_threads(
    attached: Attached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One imports what poolhog needs, and is done only when it could import something else."""
    started, opening = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "events", SimpleNamespace(started=started, opening=opening))
    (tmp_path / "needed.py").write_text(
        "import events\nevents.started.set()\nassert events.opening.wait(10)\nimport other\n"
    )
    (tmp_path / "other.py").touch()
    for name in ("needed", "other"):
        forget_afterwards(name, monkeypatch)

    def need() -> None:
        opening.set()
        importlib.import_module("needed")

    def open_gate() -> None:
        assert started.wait(WAIT_S)
        importlib.import_module("first_library")

    attached.installed = need
    in_threads(lambda: importlib.import_module("needed"), open_gate)
    assert attached.calls == ["/trace"]


def test_a_gate_stands_only_where_a_trace_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.meta_path)
    monkeypatch.delenv(sitecustomize.TRACE, raising=False)
    sitecustomize.attach()
    assert sys.meta_path == before

    monkeypatch.setenv(sitecustomize.TRACE, "/trace")
    monkeypatch.setenv(sitecustomize.LIBRARIES, "absent_library")
    monkeypatch.delitem(sys.modules, "poolhog")
    sitecustomize.attach()
    sitecustomize.attach()
    assert sys.meta_path[1:] == before


@pytest.mark.parametrize("libraries", ["", "sqlalchemy,absent_library", "absent_library"])
def test_a_process_that_was_faster_than_the_gate_is_recorded_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, libraries: str
) -> None:
    """As one whose .pth file imports poolhog, or a library, before there is a sitecustomize."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setenv(sitecustomize.TRACE, str(tmp_path / "trace"))
    monkeypatch.setenv(sitecustomize.LIBRARIES, libraries)
    sitecustomize.attach()
    assert poolhog.install() == tmp_path / "trace"


def test_a_block_is_recorded_and_nothing_else(tmp_path: Path) -> None:
    query(tmp_path)
    with poolhog.recording(tmp_path / "trace") as trace:
        assert_type(trace, poolhog.Recording)
        assert trace.directory == tmp_path / "trace"
        with pytest.raises(TraceError):
            trace.read()
        query(tmp_path)
        assert len(trace.read().checkouts) == 1
        query(tmp_path)
        assert len(trace.read().checkouts) == 2
    query(tmp_path)
    assert len(trace.read().checkouts) == 2
    (process,) = trace.read().processes
    assert process.finished


def test_a_block_that_raises_is_recorded_to_its_end(tmp_path: Path) -> None:
    def fail() -> None:
        with poolhog.recording(tmp_path / "trace"):
            query(tmp_path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(poolhog.open_trace(tmp_path / "trace").checkouts) == 1
    with poolhog.recording(tmp_path / "again") as again:
        query(tmp_path)
    assert len(again.read().checkouts) == 1


def test_a_block_in_a_process_that_is_recorded_already_is_refused(tmp_path: Path) -> None:
    with poolhog.recording(tmp_path / "outer") as outer:
        with (
            pytest.raises(PoolhogError, match="outer already: end that, or leave"),
            poolhog.recording(tmp_path / "inner"),
        ):
            pass
        assert poolhog.install(tmp_path / "inner") == outer.directory
        query(tmp_path)
    assert len(outer.read().checkouts) == 1
    assert not (tmp_path / "inner").exists()


def test_a_block_does_not_end_an_installation_that_is_not_its_own(tmp_path: Path) -> None:
    with poolhog.recording(tmp_path / "block"):
        poolhog.uninstall()
        poolhog.install(tmp_path / "other")
    assert poolhog.install() == tmp_path / "other"


def test_a_block_is_not_recorded_into_a_directory_that_holds_a_trace(tmp_path: Path) -> None:
    with poolhog.recording(tmp_path / "trace"):
        query(tmp_path)
    with (
        pytest.raises(OutputError, match="holds a trace already"),
        poolhog.recording(tmp_path / "trace"),
    ):
        pass


def test_a_block_needs_no_directory_and_takes_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with poolhog.recording(include="*/a.py", exclude=["b", "c"], sampling_interval=0) as trace:
        query(tmp_path)
        assert poolhog._installation is not None
        expected = Options(("*/a.py",), ("b", "c"), 0)
        assert poolhog._installation.recorder.journal.options == expected
    assert trace.directory.parent == tmp_path / "poolhog-traces"
    assert len(trace.read().checkouts) == 1
    with poolhog.recording() as another:
        query(tmp_path)
    assert another.directory != trace.directory
    assert len(another.read().checkouts) == 1


def test_source_is_recorded_only_if_it_is_wanted(tmp_path: Path) -> None:
    with poolhog.recording(tmp_path / "with") as whole:
        query(tmp_path)
    with poolhog.recording(tmp_path / "without", source=False) as bare:
        query(tmp_path)
    recorded, silent = (
        [site for c in trace.read().checkouts if c.site is not None for site in c.site.stack]
        for trace in (whole, bare)
    )
    assert any(site.source for site in recorded)
    assert [site.source for site in silent] == [""] * len(recorded)
    assert [(s.function, s.file) for s in silent] == [(s.function, s.file) for s in recorded]
    assert all(site.line for site in silent)


@pytest.mark.parametrize(
    "imports",
    [
        "import poolhog",
        "import poolhog.recording.recorder",
        "import poolhog.recording\nimport poolhog",
        "from poolhog.recording import recorder\nfrom poolhog import recording\nimport poolhog",
        "import poolhog\nimport poolhog.recording.writer\nimport poolhog.recording",
        "import poolhog, importlib\nimportlib.reload(poolhog)",
    ],
)
def test_recording_is_the_function_whatever_is_imported_first(imports: str) -> None:
    """The package of the same name is for poolhog's own modules."""
    code = f"{imports}\nassert type(poolhog.recording).__name__ == 'function', poolhog.recording"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
