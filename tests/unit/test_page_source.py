"""A page of somebody else's trace shows nothing of the reader's files that it has no claim to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from traces import accuse, hostile_trace
from verbs import poolhog

import poolhog as package
from poolhog.model import Site
from poolhog.render.page.source import AROUND, LARGEST, SourceFiles

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2"
CODE = "".join(f"value_{number} = {number}  # {SECRET}\n" for number in range(1, 9))
LINE = 4
TEXT = CODE.splitlines()[LINE - 1]
DEADLINE_S = 60


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    hostile_trace(tmp_path / "run", "await the_tax_office(form)")
    return tmp_path / "run" / "trace"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A directory of Python files, and beside it what is none of the page's business."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(CODE)
    (tmp_path / "outside.py").write_text(CODE)
    return tmp_path / "code"


def page_of(trace: Path, file: str | Path, source: Path, line: int = LINE, text: str = TEXT) -> str:
    """The page of a trace that names a line."""
    accuse(trace, file, line, text)
    page = trace.with_suffix(".html")
    poolhog("report", trace, "--html", page, "--source", source)
    return page.read_text()


def site_of(file: str | Path, line: int = LINE, text: str = TEXT) -> Site:
    return Site(str(file), line, "read", text, is_application=True)


def shown(page: str) -> int:
    """How many of the lines of ``CODE`` are on the page."""
    return sum(f"value_{number}" in page for number in range(1, 9))


def test_lines_of_a_python_file_below_the_directory(trace: Path, code: Path) -> None:
    assert shown(page_of(trace, code / "app.py", code)) == 2 * AROUND + 1


def test_also_where_links_lead_to_both(trace: Path, code: Path, tmp_path: Path) -> None:
    """Deployments are named by links, and what was recorded by either name."""
    link = tmp_path / "current"
    link.symlink_to(code)
    assert shown(page_of(trace, link / "app.py", code)) == 2 * AROUND + 1
    assert shown(page_of(trace, code / "app.py", link)) == 2 * AROUND + 1


def _file(name: str) -> Callable[[Path], Path]:
    def make(code: Path) -> Path:
        file = code / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(CODE)
        return file

    return make


def _link(name: str, target: str) -> Callable[[Path], Path]:
    def make(code: Path) -> Path:
        (code / "notes.txt").write_text(CODE)
        (code / name).symlink_to(code / target)
        return code / name

    return make


def _folder_link(code: Path) -> Path:
    (code / "vendor").symlink_to(code.parent)
    return code / "vendor" / "outside.py"


def _pipe(code: Path) -> Path:
    os.mkfifo(code / "pipe.py")
    return code / "pipe.py"


def _large(code: Path) -> Path:
    file = code / "large.py"
    file.write_text(CODE + "#" * 2 * LARGEST)
    return file


def _folder(code: Path) -> Path:
    (code / "package.py").mkdir()
    return code / "package.py"


def _loop(code: Path) -> Path:
    (code / "one.py").symlink_to(code / "two.py")
    (code / "two.py").symlink_to(code / "one.py")
    return code / "one.py"


def _endless(code: Path) -> Path:
    (code / "zero.py").symlink_to("/dev/zero")
    return code / "zero.py"


REFUSED: dict[str, Callable[[Path], str | Path]] = {
    "credentials": _file(".aws/credentials"),
    "a private key": _file(".ssh/id_ed25519"),
    "an environment file": _file(".env"),
    "a Python file elsewhere": lambda code: code.parent / "outside.py",
    "out by way of ..": lambda code: f"{code}/../outside.py",
    "a link out": _link("app2.py", "../outside.py"),
    "a link to what is no code": _link("app2.py", "notes.txt"),
    "a directory that is a link out": _folder_link,
    "a pipe": _pipe,
    "a large file": _large,
    "a directory": _folder,
    "a loop of links": _loop,
    "an endless device": _endless,
    "an endless device itself": lambda _: "/dev/zero",
    "an environment": lambda _: "/proc/self/environ",
    "all users": lambda _: "/etc/passwd",
    "a relative path": lambda _: "app.py",
    "no path": lambda _: "app\0.py",
    "a name as long as it gets": lambda code: f"{code}/{'a/' * 5000}app.py",
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_of_what_has_no_claim_to_be_shown(name: str, code: Path) -> None:
    file = str(REFUSED[name](code))
    found = SourceFiles(code).lines_around(site_of(file))
    assert [(line.number, line.text) for line in found] == [(LINE, TEXT)]


@pytest.mark.parametrize("name", ["credentials", "a pipe", "an endless device itself"])
def test_the_page_shows_what_the_trace_has(name: str, trace: Path, code: Path) -> None:
    assert shown(page_of(trace, REFUSED[name](code), code)) == 1


def test_users_of_this_machine_are_not_on_the_page(trace: Path, code: Path) -> None:
    first, second, *_ = Path("/etc/passwd").read_text().splitlines()
    page = page_of(trace, "/etc/passwd", Path("/"), line=1, text=first)
    assert first in page
    assert second not in page


@pytest.mark.parametrize(
    ("line", "text"),
    [(LINE, "something = else_"), (LINE + 1, TEXT), (LINE, ""), (0, TEXT), (-1, TEXT), (99, TEXT)],
)
def test_a_line_that_is_not_what_was_recorded(line: int, text: str, code: Path) -> None:
    site = site_of(code / "app.py", line, text)
    found = SourceFiles(code).lines_around(site)
    assert [one.text for one in found] == ([text] if text else [])


def test_without_a_directory_nothing_is_read(code: Path) -> None:
    site = site_of(code / "app.py")
    assert len(SourceFiles(None).lines_around(site)) == 1


def test_a_form_feed_ends_no_line(code: Path) -> None:
    (code / "old.py").write_text("one = 1\n\f\ntwo = 2\nthree = 3\n")
    found = SourceFiles(code).lines_around(site_of(code / "old.py", 3, "two = 2"))
    assert [line.number for line in found] == [1, 2, 3, 4]


@pytest.mark.parametrize("encoding", ["no-such-encoding", "rot13", "zip"])
def test_an_encoding_that_is_none(encoding: str, code: Path) -> None:
    (code / "odd.py").write_text(f"# coding: {encoding}\n{CODE}")
    found = SourceFiles(code).lines_around(site_of(code / "odd.py", LINE + 1))
    assert len(found) == 1


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_mistakes_are_one_line(verb: str, trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces = [trace] if verb == "report" else [trace, trace]
    poolhog(verb, *traces, "--source", trace, code=2)
    assert "--html" in capsys.readouterr().err
    page = trace.with_suffix(".html")
    poolhog(verb, *traces, "--html", page, "--source", trace / "nowhere", code=2)
    told = capsys.readouterr()
    assert "no such directory" in told.err
    assert told.out == ""
    assert not page.exists()


WATCHED = """
import json, os, sys
opened = []

def watch(event, arguments):
    if event == "open":
        file, mode, flags = arguments
        writes = mode is not None and mode.strip("rbt") or (flags or 0) & 3
        if not isinstance(file, int) and not writes:
            opened.append(os.fsdecode(file))
    elif event == "sqlite3.connect":
        opened.append(os.fsdecode(arguments[0]).removeprefix("file://").partition("?")[0])

sys.addaudithook(watch)
from poolhog.cli import main
try:
    main(sys.argv[2:])
finally:
    with open(sys.argv[1], "w") as told:
        json.dump(opened, told)
"""


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_no_other_file_is_opened(verb: str, trace: Path, code: Path, tmp_path: Path) -> None:
    """Whatever reads a file that a trace names has to do it where this one does."""
    accuse(trace, "/etc/passwd", 1, Path("/etc/passwd").read_text().splitlines()[0])
    (tmp_path / "second").mkdir()
    hostile_trace(tmp_path / "second", "x")
    other = tmp_path / "second" / "trace"
    accuse(other, code / "app.py", LINE, TEXT)
    told, page = tmp_path / "told.json", tmp_path / "page.html"
    traces: dict[str, list[str | Path]] = {
        "report": [trace, "--against", other],
        "compare": [trace, other, "--fail-on", "never"],
    }
    words: list[str | Path] = [told, verb, *traces[verb], "--html", page]
    command = [sys.executable, "-c", WATCHED, *map(str, words)]
    (tmp_path / "here").mkdir()
    subprocess.run(
        [*command, "--source", str(code)], check=True, timeout=DEADLINE_S, cwd=tmp_path / "here"
    )
    opened = {
        Path(os.path.realpath(tmp_path / "here" / file)) for file in json.loads(told.read_text())
    }
    python = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}
    own = {Path(os.path.realpath(one)) for one in python} | {Path(package.__file__).parent}
    strange = {
        file
        for file in opened
        if not any(file.is_relative_to(one) for one in (*own, code, trace, other))
        and file.name not in ("pyproject.toml", ":memory:")
    }
    assert code / "app.py" in opened, "it sees what is read"
    assert any(file.is_relative_to(trace) for file in opened)
    assert not strange
