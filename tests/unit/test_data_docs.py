"""The page on opening a trace elsewhere: its commands and snippets run, in its order."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recorders import pool_record, request_record

from poolhog.model import OperationKind, Outcome
from poolhog.recording.recorder import Recorder, current_request

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
PACKAGES = ("pandas", "duckdb")
"""What a snippet may import that is no dependency: it runs where they are installed."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a trace, as the page has it."""
    place = tmp_path_factory.mktemp("docs")
    recorder = Recorder(place / "my-trace")
    pool = recorder.pool(pool_record())
    for path, outcome in (("/notes/1", Outcome.RETURNED), ("/notes/2", Outcome.TIMEOUT)):
        request = recorder.request(request_record(path, route="/notes/{id}"))
        token = current_request.set(request)
        checkout = recorder.ask(pool)
        current_request.reset(token)
        if outcome is Outcome.TIMEOUT:
            checkout.give_up(outcome)
            continue
        checkout.grant(1)
        operation = recorder.operate(checkout, OperationKind.STATEMENT, "SELECT 1")
        assert operation is not None
        operation.end()
        checkout.end()
    recorder.stop()
    (file,) = (place / "my-trace").glob("*.sqlite")
    file.rename(file.with_name("4711.sqlite"))
    return place


def run(language: str, text: str, place: Path) -> str:
    if language == "python":
        command = [sys.executable, "-c", text]
        return finished(command, place)
    lines = text.splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return "".join(finished(["sh", "-c", line.removeprefix("$ ")], place) for line in lines)


def finished(command: list[str], place: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_something_of_each_kind() -> None:
    languages = [language for language, _ in BLOCKS]
    assert (languages.count("console"), languages.count("python")) == (3, 4)


# One test, as the later need what the earlier made.
def test_the_page_runs(place: Path) -> None:
    printed = []
    for language, text in BLOCKS:
        if any(f"import {name}" in text and not is_installed(name) for name in PACKAGES):
            continue
        if "sqlite3 -" in text and shutil.which("sqlite3") is None:
            continue
        printed.append(run(language, text, place))
    assert any("s, then timeout" in out and "s, then returned" in out for out in printed)
    assert (place / "tables" / "checkouts.csv").is_file()
    if shutil.which("sqlite3") is not None:
        assert "timeout" in printed[0]
        assert (place / "requests.csv").read_text().count("/notes/{id}") == 2


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
